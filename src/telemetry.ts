/**
 * Seeing it run: one method per thing that happens. Knows where such things are told, and that a credential, a prompt
 * or an answer is not told there.
 */
import { pino, type DestinationStream, type Logger } from 'pino';
import type { LlmError } from './errors.ts';
import type { Fault } from './faults.ts';
import type { Message, TerminalEvent } from './protocol.ts';

export interface TelemetryOptions {
  readonly logLevel: string;
  /** Lets prompts and answers into the log line of a generation: `LLM_LOG_CONTENT=1`. */
  readonly logContent: boolean;
  /** Where lines go; stdout unless given. */
  readonly destination?: DestinationStream;
}

/** What a generation's one log line is made of. */
export interface GenerationEnd {
  readonly caller: string;
  readonly generationId: string;
  /** Hash of the config that it ran under. */
  readonly configHash: string;
  readonly simulated: boolean;
  readonly terminal: TerminalEvent;
  /** Viewers that followed it, first to last. */
  readonly viewers: number;
  /** What was asked and answered; given only where the log may hold it. */
  readonly content?: { readonly messages: readonly Message[]; readonly text: string };
}

export interface AttemptFailure {
  readonly config: string;
  readonly model: string;
  /** Counted from 1, over all configs. */
  readonly attempt: number;
  readonly error: LlmError;
  /** Upstream's own sentence, as far as a log may hold it. */
  readonly said?: string | undefined;
  /** How long the next attempt waits; absent where there is none. */
  readonly retryInMs?: number;
}

/** Names of configs, by what a reload did to them. */
export interface ConfigChanges {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

/**
 * Lines go out together when they are this many bytes, or this old: each by itself costs a turn on another thread. A
 * process that ends by itself writes what is left; one that is killed loses them.
 */
const flushBytes = 8 * 1_024;
const flushMs = 100;

export class Telemetry {
  readonly logsContent: boolean;
  readonly #log: Logger;

  constructor(options: TelemetryOptions) {
    this.logsContent = options.logContent;
    const stdout = () => pino.destination({ sync: false, minLength: flushBytes, periodicFlush: flushMs });
    this.#log = pino({ level: options.logLevel, base: null }, options.destination ?? stdout());
  }

  listening(url: string, facts: { readonly simulated: boolean; readonly configs: readonly string[] }): void {
    this.#log.info({ url, ...facts }, 'listening');
  }

  /** Variables that are set and that somebody may count on, each with what to use instead. */
  variablesUnused(unused: readonly Fault[]): void {
    this.#log.warn({ unused }, 'environment variables are set that the service does not use');
  }

  configsReloaded(file: string, changes: ConfigChanges): void {
    this.#log.info({ file, ...changes }, 'configs reloaded');
  }

  /** The configs as written can't be served, so the old ones stay. */
  configsRefused(file: string, faults: readonly Fault[]): void {
    this.#log.error({ file, faults }, 'configs refused, the old ones stay');
  }

  generationEnded(end: GenerationEnd): void {
    const { terminal, content, ...facts } = end;
    const { type: outcome, config, model, usage, costUsd, timing } = terminal;
    const { raw: _raw, ...tokens } = usage;
    this.#log.info(
      {
        ...facts,
        config,
        model,
        outcome,
        ...(terminal.type === 'done' ? { stopReason: terminal.stopReason } : {}),
        ...(terminal.type === 'cancelled' ? { reason: terminal.reason } : {}),
        ...(terminal.type === 'error' ? { code: terminal.code, requestId: terminal.requestId } : {}),
        ...tokens,
        costUsd,
        ...timing,
        ...content,
      },
      'generation ended',
    );
  }

  upstreamAttemptFailed({ error, ...facts }: AttemptFailure): void {
    this.#log.warn(
      { ...facts, code: error.code, requestId: error.requestId, cause: causeOf(error) },
      'upstream failed',
    );
  }

  /** Something broke that has no code of its own: a fault of ours. */
  internalError(where: string, error: unknown): void {
    this.#log.error({ where, cause: causeOf(error) }, 'internal error');
  }

  /** An embedding app's `authenticate` threw: a wrong token most likely, or something of the app's that broke. */
  authenticationFailed(error: unknown): void {
    this.#log.warn({ cause: causeOf(error) }, 'authentication failed');
  }

  draining(running: number): void {
    this.#log.info({ running }, 'draining');
  }

  stopped(): void {
    this.#log.info('stopped');
  }
}

/**
 * What may be told of a cause: its class, code and status, and the frames of its stack, but not its message. Messages
 * quote what was sent: the SDK's hold upstream's answer, which can hold a prompt; URLs can hold credentials.
 */
function causeOf(error: unknown): unknown {
  const chain: unknown[] = [];
  for (let cause = error; cause instanceof Error && chain.length < 5; cause = cause.cause) {
    const { code, status, type, requestPath, check } = cause as unknown as Readonly<Partial<Record<string, unknown>>>;
    chain.push({
      name: cause.name,
      ...(typeof code === 'string' ? { code } : {}),
      ...(typeof status === 'number' ? { status } : {}),
      // Upstream names it; what isn't one word is no type of error.
      ...(typeof type === 'string' && /^\w{1,64}$/.test(type) ? { type } : {}),
      ...(typeof requestPath === 'string' ? { path: requestPath } : {}),
      ...(typeof check === 'string' ? { check } : {}),
      stack: framesOf(cause),
    });
  }
  return chain.length === 0 ? typeof error : chain;
}

/** A stack begins with the message, of which any line can look like a frame. */
function framesOf({ stack = '', message }: Error): string[] {
  const at = stack.indexOf(message);
  const frames = at === -1 ? [] : stack.slice(at + message.length).split('\n');
  return frames.filter((line) => /^\s+at /.test(line)).slice(0, 8);
}
