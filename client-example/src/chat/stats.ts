/** The cost and speed of an answer, in words and numbers for readers. */
import type { TerminalEvent } from 'llm-service/client';

export interface Stat {
  readonly label: string;
  readonly value: string;
  /** An explanation, if the value needs one. */
  readonly note?: string;
}

/** Tokens per second between the first and the last token; undefined if there was nothing to measure. */
function tokensPerSecond({ usage, timing }: TerminalEvent): number | undefined {
  if (timing.firstTokenMs === null) return undefined;
  const ms = timing.totalMs - timing.firstTokenMs;
  return ms > 0 && usage.outputTokens > 0 ? (usage.outputTokens / ms) * 1_000 : undefined;
}

export function statsOf(terminal: TerminalEvent, simulated: boolean): readonly Stat[] {
  const { usage, costUsd, timing } = terminal;
  const speed = tokensPerSecond(terminal);
  const input = usage.inputTokens + usage.cacheReadInputTokens + usage.cacheCreationInputTokens;
  const about = usage.estimated ? '≈ ' : '';
  return [
    ...(timing.firstTokenMs === null ? [] : [{ label: 'First token', value: formatMs(timing.firstTokenMs) }]),
    ...(speed === undefined ? [] : [{ label: 'Speed', value: `${formatCount(Math.round(speed))} tok/s` }]),
    {
      label: 'Tokens',
      value: `${about}${formatCount(input)} in, ${about}${formatCount(usage.outputTokens)} out`,
      ...(usage.estimated ? { note: 'Estimated, because the answer ended before the model reported it.' } : {}),
    },
    simulated
      ? { label: 'Cost', value: 'simulated', note: 'No model was called, and nothing was spent.' }
      : { label: 'Cost', value: costUsd === null ? 'unknown' : formatUsd(costUsd) },
  ];
}

export function formatMs(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

export function formatCount(count: number): string {
  return count.toLocaleString('en');
}

function formatUsd(usd: number): string {
  return usd === 0 ? '$0' : usd < 0.01 ? `$${usd.toFixed(5)}` : `$${usd.toFixed(3)}`;
}
