/**
 * Seeing it run: one method per thing that happens. Knows where such things are told, and that a credential, a prompt
 * or an answer is not told there.
 */
import type { Logger } from 'pino';
import type { LlmError } from '../errors.ts';
import type { Problem } from '../settings/problems.ts';
import { harmless, openLog, type LlmLogger, type LogDestination } from './log-lines.ts';
import type { Message, TerminalEvent } from '../protocol.ts';
import { RefusalLines, type Refusal } from './refusal-lines.ts';

export interface TelemetryOptions {
  readonly logLevel: string;
  /** Lets prompts and answers into the log line of a generation: `LLM_LOG_CONTENT=1`. */
  readonly logContent: boolean;
  /** Where lines go; stdout unless given. */
  readonly destination?: LogDestination;
  /** Is called in place of writing lines; `logLevel` and `destination` mean nothing then. */
  readonly logger?: LlmLogger;
  /** Whether lines are for a person to read rather than JSON. Unless given: where they go to a stdout that is a terminal. */
  readonly readable?: boolean;
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

export class Telemetry {
  readonly logsContent: boolean;
  readonly #log: LlmLogger;
  /** Those that the log is written in; undefined where a logger was given, which is its owner's to flush. */
  readonly #lines: Logger | undefined;
  readonly #refusals: RefusalLines;

  constructor(options: TelemetryOptions) {
    this.logsContent = options.logContent;
    const { logLevel: level, destination, readable, logger } = options;
    this.#lines = logger ? undefined : openLog({ level, destination, readable });
    this.#log = logger ? harmless(logger) : this.#lines!;
    this.#refusals = new RefusalLines(this.#log);
  }

  /** Settles when all lines until now have left, or never will. */
  async flush(): Promise<void> {
    await new Promise<void>((resolve) => (this.#lines ? this.#lines.flush(() => resolve()) : resolve()));
  }

  listening(url: string, facts: { readonly simulated: boolean; readonly configs: readonly string[] }): void {
    this.#log.info({ url, ...facts }, 'listening');
  }

  /** Variables that are set and that somebody may count on, each with what to use instead. */
  variablesUnused(unused: readonly Problem[]): void {
    this.#log.warn({ unused }, 'environment variables are set that the service does not use');
  }

  /** The settings are served, and may not hold what their author counts on. Nothing where nothing is doubtful. */
  settingsDoubted(warnings: readonly Problem[]): void {
    if (warnings.length > 0) this.#log.warn({ warnings }, 'settings are served with warnings');
  }

  configsReloaded(file: string, changes: ConfigChanges, warnings: readonly Problem[] = []): void {
    this.#log.info({ file, ...changes }, 'configs reloaded');
    this.configsDoubted(file, warnings);
  }

  /** The configs are served, and may not do what their author wants. Nothing where nothing is doubtful. */
  configsDoubted(file: string, warnings: readonly Problem[]): void {
    if (warnings.length > 0) this.#log.warn({ file, warnings }, 'configs are served with warnings');
  }

  /**
   * The operator had the configs read again, and they say what they said before.
   *
   * @param fixed Whether some come from `LLM_CONFIGS`, which a running process can't read again.
   */
  configsUnchanged(file: string, { fixed }: { readonly fixed: boolean }): void {
    const hint = fixed ? '; LLM_CONFIGS is read at the start only' : '';
    this.#log.info({ file }, `configs read again, nothing has changed${hint}`);
  }

  /** The configs as written can't be served, so the old ones stay. */
  configsRefused(file: string, problems: readonly Problem[]): void {
    this.#log.error({ file, problems }, 'configs refused, the old ones stay');
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
      { ...facts, code: error.code, requestId: error.requestId, cause: causeOf(error, isUnexplained) },
      'upstream failed',
    );
  }

  /** A request was refused. At most some lines a second for each code, and how many more there were. */
  refused(refusal: Refusal): void {
    this.#refusals.write(refusal);
  }

  /** Something broke that has no code of its own: a bug of ours. */
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
    this.#refusals.flush();
    this.#log.info({}, 'stopped');
  }
}

/**
 * What may be told of a cause: its class, code and status, but not its message. Messages quote what was sent: the SDK's hold
 * upstream's answer, which can hold a prompt; URLs can hold credentials.
 *
 * @param frames Which causes have the frames of their stack told.
 */
function causeOf(error: unknown, frames: (cause: Error) => boolean = () => true): unknown {
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
      ...(frames(cause) ? { stack: framesOf(cause) } : {}),
    });
  }
  return chain.length === 0 ? typeof error : chain;
}

/** Whether only its stack says what it was. An upstream that is overloaded is no bug to look for in this code. */
function isUnexplained(error: Error): boolean {
  const { code, status } = error as { code?: unknown; status?: unknown };
  return code === undefined && status === undefined && !(error.cause instanceof Error);
}

/** A stack begins with the message, of which any line can look like a frame. */
function framesOf({ stack = '', message }: Error): string[] {
  const at = stack.indexOf(message);
  const frames = at === -1 ? [] : stack.slice(at + message.length).split('\n');
  return frames.filter((line) => /^\s+at /.test(line)).slice(0, 8);
}
