/** Shows what happens on the wire while it happens, and has buttons that break it. */
import { useEffect, useRef, useState } from 'react';
import { formatCount, formatMs } from '../chat/stats.ts';
import { Icon } from '../page/icon.tsx';
import type { Meter, Readings } from './meter.ts';
import { drawPlot, type PlotStyle } from './plot.ts';

export interface LabProps {
  readonly open: boolean;
  readonly meter: Meter;
  readonly running: boolean;
  readonly resumes: number;
  /** Whether the simulator answers, or nobody knows yet. Only the simulator plays faults. */
  readonly simulated: boolean;
  readonly onCut: () => void;
  readonly onAsk: (prompt: string) => void;
  readonly onClose: () => void;
}

const faults = [
  {
    label: 'Overload the upstream',
    prompt: '/sim overloaded',
    told: 'Every attempt gets 529; two retries, then an error.',
  },
  { label: 'Stall the answer', prompt: '/sim stall_mid_stream', told: 'Some text, then silence. Esc stops it.' },
  { label: 'Truncate the answer', prompt: '/sim clean_end', told: 'The stream ends without an error, but too early.' },
  {
    label: 'Ask for 2,000 tokens',
    prompt: '/sim tokens 2000',
    told: 'A slow answer without a fault. Cut the connection meanwhile.',
  },
] as const;

export function Lab({ open, meter, running, resumes, simulated, onCut, onAsk, onClose }: LabProps) {
  return (
    <aside className="lab" data-open={open} aria-label="Instruments">
      <header>
        <h2>Instruments</h2>
        <button type="button" className="icon-button" aria-label="Close instruments" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {open && <Plots meter={meter} running={running} resumes={resumes} />}
      <h3>Break something</h3>
      <ul className="faults">
        <li>
          <button type="button" className="button" onClick={onCut} disabled={!running}>
            <Icon name="cut" /> Cut my connection
          </button>
          <p>{running ? 'The answer goes on, and no text comes twice.' : 'While an answer streams.'}</p>
        </li>
        {faults.map(({ label, prompt, told }) => (
          <li key={prompt}>
            <button type="button" className="button" onClick={() => onAsk(prompt)} disabled={running || !simulated}>
              {label}
            </button>
            <p>{simulated ? told : 'Only the simulator plays this; here a real model answers.'}</p>
          </li>
        ))}
      </ul>
    </aside>
  );
}

const drawMs = 100;
const plots = {
  tokens: { kind: 'area', scaleMin: 20 },
  gaps: { kind: 'bars', scaleMin: 100 },
} as const satisfies Record<string, PlotStyle>;

function Plots({ meter, running, resumes }: { meter: Meter; running: boolean; resumes: number }) {
  const tokens = useRef<HTMLCanvasElement>(null);
  const gaps = useRef<HTMLCanvasElement>(null);
  const [{ now }, setReadings] = useState<Readings>(() => meter.read());
  const [scales, setScales] = useState({ tokens: 0, gaps: 0 });

  useEffect(() => {
    const draw = () => {
      const readings = meter.read();
      setReadings(readings);
      setScales({
        tokens: drawPlot(tokens.current!, readings.tokensPerSecond, plots.tokens),
        gaps: drawPlot(gaps.current!, readings.gapsMs, plots.gaps),
      });
    };
    draw();
    if (!running) return undefined;
    const timer = setInterval(draw, drawMs);
    return () => clearInterval(timer);
  }, [meter, running]);

  return (
    <div className="plots">
      <figure>
        <figcaption>
          Tokens a second <output>{running ? formatCount(Math.round(now.tokensPerSecond)) : '–'}</output>
        </figcaption>
        <canvas ref={tokens} className="plot tokens" role="img" aria-label="Tokens a second over the last 30 seconds" />
        <span className="scale">{formatCount(scales.tokens)}</span>
      </figure>
      <figure>
        <figcaption>
          Gap between events <output>{running ? formatMs(now.gapMs) : '–'}</output>
        </figcaption>
        <canvas ref={gaps} className="plot gaps" role="img" aria-label="Longest gaps over the last 30 seconds" />
        <span className="scale">{formatMs(scales.gaps)}</span>
      </figure>
      <dl className="readings">
        <div>
          <dt>Events a second</dt>
          <dd>{running ? formatCount(now.eventsPerSecond) : '–'}</dd>
        </div>
        <div>
          <dt>Connections resumed</dt>
          <dd>{formatCount(resumes)}</dd>
        </div>
      </dl>
    </div>
  );
}
