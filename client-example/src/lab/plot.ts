/**
 * Draws one row of readings on a canvas, in the colours that its style sheet defines. Knows nothing of what the
 * readings mean.
 */

export interface PlotStyle {
  readonly kind: 'area' | 'bars';
  /** The scale reaches at least this value, so that small noise looks small. */
  readonly scaleMin: number;
}

/** Draws the values, oldest first, and returns the value at the top of the scale. */
export function drawPlot(canvas: HTMLCanvasElement, values: readonly number[], { kind, scaleMin }: PlotStyle): number {
  const { clientWidth: width, clientHeight: height } = canvas;
  const density = devicePixelRatio;
  if (canvas.width !== Math.round(width * density)) canvas.width = Math.round(width * density);
  if (canvas.height !== Math.round(height * density)) canvas.height = Math.round(height * density);
  const scale = niceCeiling(Math.max(scaleMin, ...values));
  const context = canvas.getContext('2d');
  if (!context || width === 0) return scale;
  const style = getComputedStyle(canvas);
  const [ink, grid] = [style.color, style.getPropertyValue('--plot-grid')];
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);

  context.fillStyle = grid;
  for (const part of [0, 0.5, 1]) context.fillRect(0, Math.round(part * (height - 1)), width, 1);

  const step = width / (values.length - 1);
  const y = (value: number) => height - 1 - (value / scale) * (height - 4);
  context.fillStyle = context.strokeStyle = ink;
  if (kind === 'bars') {
    for (const [at, value] of values.entries()) {
      if (value > 0) context.fillRect(at * step - step * 0.35, y(value), Math.max(1, step * 0.7), height - y(value));
    }
    return scale;
  }
  context.beginPath();
  for (const [at, value] of values.entries()) context.lineTo(at * step, y(value));
  context.lineWidth = 1.5;
  context.lineJoin = 'round';
  context.stroke();
  context.lineTo(width, height);
  context.lineTo(0, height);
  context.globalAlpha = 0.14;
  context.fill();
  context.globalAlpha = 1;
  return scale;
}

/** 1, 2 or 5 times a power of ten. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value) ?? value;
}
