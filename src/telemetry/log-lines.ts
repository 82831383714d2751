/**
 * How log lines look and where they go: JSON for machines, one readable line each for a person at a terminal. Knows nothing of
 * what they say. Times are ISO 8601, numbers have no more digits than mean something, and no line breaks within.
 */
import { createRequire } from 'node:module';
import { isatty } from 'node:tty';
import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import type { PrettyOptions } from 'pino-pretty';
import { escapeLineEnds } from '../json/json-line.ts';

/** A logger of somebody else's, as pino's and the console are: what happened in one word or two, and its facts. */
export interface LlmLogger {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

export interface LogOptions {
  readonly level: string;
  /** Where lines go; stdout unless given. */
  readonly destination?: DestinationStream | undefined;
  /** Whether lines are for a person to read rather than JSON. Unless given: where they go to a stdout that is a terminal. */
  readonly readable?: boolean | undefined;
}

/**
 * Lines go out together when they are this many bytes, or this old: each by itself costs a turn on another thread. A
 * process that ends by itself writes what is left; one that is killed loses them.
 */
const flushBytes = 8 * 1_024;
const flushMs = 100;
/** Lines that nobody takes, of a pipe that isn't read, are kept up to this; more are dropped. */
const unreadBytesMax = 16 * 1_024 * 1_024;
const stdout = 1;
const significantDigits = 6;

export function openLog({ level, destination, readable = !destination && isatty(stdout) }: LogOptions): Logger {
  const options = {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { log: rounded },
    hooks: { streamWrite: readable ? readableLine({ colorize: !destination }) : escapeLineEnds },
  };
  return pino(options, destination ?? stdoutLines(readable));
}

function stdoutLines(readable: boolean): DestinationStream {
  // At once where somebody is looking.
  const lines = pino.destination(
    readable
      ? { sync: true }
      : { sync: false, minLength: flushBytes, periodicFlush: flushMs, maxLength: unreadBytesMax },
  );
  // A closed terminal, a closed pipe and a full disk take no more lines. Without this the first of them would end the
  // process in the middle of its answers, and what is left at the exit would be written again and again without an end.
  const flush = (done?: () => void) => done?.();
  lines.on('error', () => Object.assign(lines, { write: () => true, flush, flushSync: flush, end: flush }));
  return lines;
}

/** Loaded here, since a service whose lines nobody reads by eye has no use for it. */
function readableLine(look: PrettyOptions): (line: string) => string {
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as {
    readonly prettyFactory: (options: PrettyOptions) => (line: string) => string;
  };
  return prettyFactory({ translateTime: 'SYS:HH:MM:ss.l', singleLine: true, ...look });
}

/** Milliseconds as whole ones, other fractions (dollars, for one) to a few digits. */
function rounded(line: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(line).map(([key, value]) => {
      if (typeof value !== 'number' || Number.isInteger(value) || !Number.isFinite(value)) return [key, value];
      return [key, key.endsWith('Ms') ? Math.round(value) : Number(value.toPrecision(significantDigits))];
    }),
  );
}
