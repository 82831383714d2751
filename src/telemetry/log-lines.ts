/**
 * How log lines look and where they go: JSON for machines, one readable line each for a person at a terminal. Knows nothing of
 * their content. Times are ISO 8601, numbers are rounded to the digits that mean something, and a line holds no line break.
 */
import { createRequire } from 'node:module';
import { isatty } from 'node:tty';
import { pino, stdTimeFunctions, type Logger } from 'pino';
import type { PrettyOptions } from 'pino-pretty';
import { escapeLineEnds } from '../json/json-line.ts';

/** A logger such as pino's or the console: each method takes the facts of an event, and its name in a few words. */
export interface LlmLogger {
  /** What happens in a service that is well. */
  info(facts: object, message: string): void;
  /** What somebody may have to act on. */
  warn(facts: object, message: string): void;
  /** What does not work, and won't by itself. */
  error(facts: object, message: string): void;
}

/** Where log lines are written. */
export interface LogDestination {
  /** Takes one line, with its line break. */
  write(line: string): void;
}

export interface LogOptions {
  readonly level: string;
  /** Unless given: stdout. */
  readonly destination?: LogDestination | undefined;
  /** Whether lines are for a person to read rather than JSON. Unless given: true where they go to a stdout that is a terminal. */
  readonly readable?: boolean | undefined;
  /** The number of the worker that writes, in each line; undefined in a process that is no worker. */
  readonly worker?: number | undefined;
}

/**
 * Lines leave together, once they are this many bytes or this old, since each write by itself costs a turn on another thread. A
 * process that ends by itself writes its last lines; one that is killed loses them.
 */
const flushBytes = 8 * 1_024;
const flushMs = 100;
/** Lines that a pipe's reader doesn't take are kept up to this size. More lines are dropped. */
const unreadBytesMax = 16 * 1_024 * 1_024;
const stdout = 1;
const significantDigits = 6;

export function openLog(log: LogOptions): Logger {
  const { level, destination, readable = !destination && isatty(stdout), worker } = log;
  const options = {
    level,
    base: worker === undefined ? null : { worker },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { log: rounded },
    hooks: { streamWrite: readable ? readableLine({ colorize: !destination }) : escapeLineEnds },
  };
  return pino(options, destination ?? stdoutLines(readable));
}

function stdoutLines(readable: boolean): LogDestination {
  // A person who watches the terminal sees each line at once.
  const lines = pino.destination(
    readable
      ? { sync: true }
      : { sync: false, minLength: flushBytes, periodicFlush: flushMs, maxLength: unreadBytesMax },
  );
  // A closed terminal, a closed pipe and a full disk take no more lines. Without this listener the first such line would end
  // the process in the middle of its answers, and at the exit the lines that are left would be written again and again.
  const flush = (done?: () => void) => done?.();
  lines.on('error', () => Object.assign(lines, { write: () => true, flush, flushSync: flush, end: flush }));
  return lines;
}

/** Loads pino-pretty only here, since a service whose log no person reads has no use for it. */
function readableLine(look: PrettyOptions): (line: string) => string {
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as {
    readonly prettyFactory: (options: PrettyOptions) => (line: string) => string;
  };
  return prettyFactory({ translateTime: 'SYS:HH:MM:ss.l', singleLine: true, ...look });
}

/** Milliseconds become whole numbers, other fractions (of dollars, for one) keep a few digits. */
function rounded(line: Record<string, unknown>): Record<string, unknown> {
  const short: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(line)) {
    short[key] = typeof value === 'number' ? roundedNumber(key, value) : value;
  }
  return short;
}

function roundedNumber(key: string, value: number): number {
  if (Number.isInteger(value) || !Number.isFinite(value)) return value;
  return key.endsWith('Ms') ? Math.round(value) : Number(value.toPrecision(significantDigits));
}

/** The same logger, whose own errors harm no generation. */
export function harmless(logger: LlmLogger): LlmLogger {
  const calling = (level: keyof LlmLogger) => (facts: object, message: string) => {
    try {
      logger[level](facts, message);
    } catch {
      // The logger is the only place to report it to.
    }
  };
  return { info: calling('info'), warn: calling('warn'), error: calling('error') };
}
