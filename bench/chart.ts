/**
 * Draws the chart for the README: one bar for each CPU time per token, as a multiple of the raw proxy's. The SVG
 * consists of plain shapes.
 */
import type { Report } from './report.ts';
import type { TargetResult, WorkloadResult } from './rounds.ts';

const width = 860;
const labelWidth = 240;
const valueWidth = 270;
const rowHeight = 22;
const barHeight = 14;
const titleHeight = 40;
const headHeight = 58;
const footHeight = 26;
/**
 * Longer bars are cut at this multiple and marked as cut. Otherwise the long bars would make the short ones invisible.
 */
const ratioMax = 5;
const charted = new Set(['saturated', 'paced-200']);

/** Empty if none of the charted workloads was run. */
export function chartOf(report: Report): string {
  const groups = report.workloads
    .filter(({ workload }) => charted.has(workload))
    .map((workload) => ({ workload, bars: barsOf(workload) }))
    .filter(({ bars }) => bars.length > 0);
  if (groups.length === 0) return '';
  const shapes: string[] = [];
  let y = headHeight;
  for (const { workload, bars } of groups) {
    shapes.push(text(16, y + 22, workload.title, 'group'));
    y += titleHeight - 6;
    const oneX = labelWidth + barWidth(1);
    const line = `<line class="one" x1="${oneX}" x2="${oneX}" y1="${y}" y2="${y + bars.length * rowHeight}"/>`;
    for (const bar of bars) {
      shapes.push(...shapesOf(bar, y));
      y += rowHeight;
    }
    shapes.push(line);
    y += 8;
  }
  const height = y + footHeight;
  const { cpu, cores, node } = report.machine;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="CPU time per token, as multiples of a raw byte proxy's">
<style>
  text { font: 12px system-ui, sans-serif; fill: #24292f; }
  .title { font-size: 15px; font-weight: 600; }
  .group { font-weight: 600; }
  .note { fill: #57606a; font-size: 11px; }
  .bar { fill: #afb8c1; }
  .ours { fill: #0969da; }
  .one { stroke: #57606a; stroke-dasharray: 3 3; }
</style>
<rect width="100%" height="100%" rx="6" fill="#ffffff"/>
${text(16, 26, 'CPU time per token, as a multiple of a raw byte proxy’s', 'title')}
${text(16, 44, 'Less is better. Behind each bar: the multiple, CPU time and frames a token, and the 99th percentile of a token’s delay.', 'note')}
${shapes.join('\n')}
${text(16, height - 10, `${report.date.slice(0, 10)}, ${cpu}, ${cores} cores, Node ${node}; medians of ${groups[0]!.workload.roundsWanted} rounds, npm run bench`, 'note')}
</svg>
`;
}

function barsOf({ results }: WorkloadResult): TargetResult[] {
  return results
    .filter(({ ratios, failure }) => failure === undefined && ratios['cpuUsPerToken'] !== undefined)
    .toSorted((a, b) => a.ratios['cpuUsPerToken']! - b.ratios['cpuUsPerToken']!);
}

function shapesOf({ title, ours, ratios, medians }: TargetResult, y: number): string[] {
  const ratio = ratios['cpuUsPerToken']!;
  const end = labelWidth + barWidth(ratio);
  const cut = ratio > ratioMax ? '→ ' : '';
  const figures = [
    `${cut}${ratio.toFixed(2)} ×`,
    `${medians['cpuUsPerToken']!.toFixed(1)} µs`,
    `${medians['framesPerToken']!.toFixed(2)} frames`,
    `${medians['delayP99Ms']!.toFixed(0)} ms`,
  ];
  const middle = y + rowHeight / 2;
  return [
    text(16, middle + 4, title),
    `<rect class="bar${ours ? ' ours' : ''}" x="${labelWidth}" y="${middle - barHeight / 2}" width="${barWidth(ratio)}" height="${barHeight}" rx="2"/>`,
    text(end + 6, middle + 4, figures.join(', ')),
  ];
}

function barWidth(ratio: number): number {
  return Math.round(((width - labelWidth - valueWidth) * Math.min(ratio, ratioMax)) / ratioMax);
}

function text(x: number, y: number, content: string, className?: string): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x}" y="${y}"${className === undefined ? '' : ` class="${className}"`}>${escaped}</text>`;
}
