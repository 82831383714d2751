/**
 * Reports what happens in a service: one method for each thing that can happen. Knows how it is logged and whether it is counted,
 * and keeps credentials, prompts and answers out of the log.
 */
import type { Logger } from 'pino';
import type { LlmError } from '../errors.ts';
import type { Problem } from '../settings/problems.ts';
import { harmless, openLog, type LlmLogger, type LogDestination } from './log-lines.ts';
import type { AttemptCode, Counters } from './metrics.ts';
import type { Message, TerminalEvent } from '../protocol.ts';
import { RefusalLines, type Refusal, type RefusalDoor } from './refusal-lines.ts';
import type { Traces } from './traces.ts';

/** What is logged, and where. */
export interface TelemetryOptions {
  /** The least level that is logged: `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`. */
  readonly logLevel: string;
  /** Whether the log line of a generation holds its messages and its answer: `LLM_LOG_CONTENT=1`. */
  readonly logContent: boolean;
  /** Where lines are written. Unless given: stdout. */
  readonly destination?: LogDestination;
  /** Called in place of writing lines. `logLevel`, `destination` and `readable` have no effect then. */
  readonly logger?: LlmLogger;
  /** Whether lines are for a person to read rather than JSON. Unless given: true where they go to a stdout that is a terminal. */
  readonly readable?: boolean;
  /** The number of the worker of `serve --workers` that writes, for each line. */
  readonly worker?: number | undefined;
}

/** The facts for a generation's one log line. */
export interface GenerationEnd {
  readonly caller: string;
  readonly generationId: string;
  /** The hash of the config that it began with. */
  readonly configHash: string;
  readonly simulated: boolean;
  /** The trace of the request that started it; absent where nothing is traced. */
  readonly traceId?: string | undefined;
  readonly terminal: TerminalEvent;
  /**
   * How often a viewer came while it ran. A viewer that reconnects counts again. Another instance counts once each time it gets
   * its first viewer.
   */
  readonly viewers: number;
  /** The messages and the text of the answer; present only where the log may hold them. */
  readonly content?: { readonly messages: readonly Message[]; readonly text: string };
}

export interface AttemptFailure {
  readonly config: string;
  readonly model: string;
  /** Counts the generation's attempts from 1, those of its fallbacks included. */
  readonly attempt: number;
  readonly error: LlmError;
  /** The sentence of upstream's error, as far as a log may hold it. */
  readonly said?: string | undefined;
  /** The wait before the next attempt; absent where there is none. */
  readonly retryInMs?: number;
}

/** A call of a tool that has failed for a reason that neither the model nor clients read. */
export interface ToolFailure {
  readonly generationId: string;
  readonly config: string;
  readonly tool: string;
  readonly callId: string;
  readonly code: 'failed' | 'invalid_output';
  /** What the tool threw. */
  readonly error?: unknown;
  /** Where its result doesn't fit its schema. */
  readonly paths?: readonly string[];
}

/** What a reload changed: the names of configs. */
export interface ConfigChanges {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

export class Telemetry {
  readonly logsContent: boolean;
  readonly #log: LlmLogger;
  /** Flushed before the process ends; undefined where a logger was given, which its owner flushes. */
  readonly #lines: Logger | undefined;
  readonly #refusals: RefusalLines;
  /** Undefined where nobody reads metrics. */
  #counters: Counters | undefined;
  #traces: Traces | undefined;

  constructor(options: TelemetryOptions) {
    this.logsContent = options.logContent;
    const { logLevel: level, destination, readable, logger, worker } = options;
    this.#lines = logger ? undefined : openLog({ level, destination, readable, worker });
    this.#log = logger ? harmless(logger) : this.#lines!;
    this.#refusals = new RefusalLines(this.#log);
  }

  /** Has everything that happens from now on counted, too. */
  countIn(counters: Counters): void {
    this.#counters = counters;
  }

  /** Has everything that happens from now on traced, too. */
  traceBy(traces: Traces): void {
    this.#traces = traces;
  }

  /** Undefined where nothing is traced. */
  get traces(): Traces | undefined {
    return this.#traces;
  }

  /** Settles when all lines until now are written, or can't be written any more. */
  async flush(): Promise<void> {
    await new Promise<void>((resolve) => (this.#lines ? this.#lines.flush(() => resolve()) : resolve()));
  }

  listening(
    url: string,
    facts: {
      readonly simulated: boolean;
      readonly configs: readonly string[];
      readonly metricsUrl?: string | undefined;
    },
  ): void {
    this.#log.info({ url, ...facts }, 'listening');
  }

  /** Variables are set that change nothing, though somebody may count on them. Each comes with what to use instead. */
  variablesUnused(unused: readonly Problem[]): void {
    this.#log.warn({ unused }, 'environment variables are set that the service does not use');
  }

  /** The place of the stream logs, which is Redis, doesn't answer. The service goes on trying. */
  logsUnreachable(): void {
    this.#log.error({}, 'Redis does not answer: no request for a generation can be served until it does');
  }

  /** Redis owes an answer for so long that the service isn't ready. Viewers wait. */
  redisLost(): void {
    this.#log.error({}, 'Redis is out of reach');
  }

  /** @param outOfReachMs Since its last answer. */
  redisBack(outOfReachMs: number): void {
    this.#log.info({ outOfReachMs }, 'Redis is back');
  }

  /**
   * A call or a connection failed, and is repeated. Logged once for each kind, until `redisWorks`.
   *
   * @param kind The word by which Redis, Node or the client names the error: `ECONNREFUSED`, `WRONGPASS`, `NOPERM`, `OOM`, …
   */
  redisFails(kind: string): void {
    this.#log.warn({ kind }, 'calls to Redis fail, and are repeated');
  }

  /** @param failures How often it has failed before that. */
  redisWorks(kind: string, failures: number): void {
    this.#log.info({ kind, failures }, 'calls to Redis fail no more');
  }

  /** Redis had forgotten events of generations of this instance, or whole logs, and got them again. */
  logsRestored(facts: { readonly gaps: number; readonly reopened: number }): void {
    this.#log.warn(facts, 'Redis had forgotten parts of logs, which were written again');
  }

  /** Generations of instances that are gone were ended as `producer_lost`. */
  logsReaped(generations: number): void {
    this.#log.warn({ generations }, 'generations of an instance that is gone were ended');
  }

  /** Others took this instance for gone, and ended generations that it was running. They were stopped. */
  logsFenced(generations: number): void {
    this.#log.warn({ generations }, 'generations of this instance were ended by another, which took it for gone');
  }

  /** The settings are valid and may not protect as their author expects. Logs nothing without warnings. */
  settingsDoubted(warnings: readonly Problem[]): void {
    if (warnings.length > 0) this.#log.warn({ warnings }, 'settings are served with warnings');
  }

  configsReloaded(file: string, changes: ConfigChanges, warnings: readonly Problem[] = []): void {
    this.#counters?.configsApplied(changes.removed);
    this.#log.info({ file, ...changes }, 'configs reloaded');
    this.configsDoubted(file, warnings);
  }

  /** The configs are served and may not do what their author wants. Logs nothing without warnings. */
  configsDoubted(file: string, warnings: readonly Problem[]): void {
    if (warnings.length > 0) this.#log.warn({ file, warnings }, 'configs are served with warnings');
  }

  /**
   * The configs were read again at the operator's request, and nothing in them has changed.
   *
   * @param fixed Whether some of them come from `LLM_CONFIGS`, which a running process can't read again.
   */
  configsUnchanged(file: string, { fixed }: { readonly fixed: boolean }): void {
    const hint = fixed ? '; LLM_CONFIGS is read at the start only' : '';
    this.#log.info({ file }, `configs read again, nothing has changed${hint}`);
  }

  /** The configs as they are written now can't be served. The service keeps the former ones. */
  configsRefused(file: string, problems: readonly Problem[]): void {
    this.#counters?.configsRefused();
    this.#log.error({ file, problems }, 'configs refused, the old ones stay');
  }

  /** The configs could not be read again, by a bug of this service. It keeps the former ones. */
  reloadFailed(error: unknown): void {
    this.#counters?.configsRefused();
    this.internalError('reload', error);
  }

  /** A file that says who may ask was read again. `what` it holds: `keys`. */
  fileTaken(what: string, file: string): void {
    this.#log.info({ file }, `${what} read again`);
  }

  /** Such a file can't be taken as it is now. What was read before stays. */
  fileRefused(what: string, file: string, problems: readonly Problem[]): void {
    this.#log.error({ file, problems }, `${what} refused, the old ones stay`);
  }

  /** Such a file was taken, and may not do what its author wants. Logs nothing without warnings. */
  fileDoubted(what: string, file: string, warnings: readonly Problem[]): void {
    if (warnings.length > 0) this.#log.warn({ file, warnings }, `${what} are taken with warnings`);
  }

  /** The keys of the issuer of tokens can't be read now. Those that were read before stay for a while. */
  keySetUnread(error: unknown): void {
    this.#log.error({ cause: causeOf(error, () => false) }, 'the keys at LLM_JWKS_URL can’t be read');
  }

  /** Spans can't be sent to the collector, and are dropped. Logged once, until `traceExportWorks`. */
  traceExportFails(error: unknown): void {
    const { code } = error as { readonly code?: unknown };
    const status = typeof code === 'number' ? { status: code } : {};
    this.#log.warn({ ...status, cause: causeOf(error, () => false) }, 'traces can’t be sent, and are lost');
  }

  traceExportWorks(): void {
    this.#log.info({}, 'traces are sent again');
  }

  generationEnded(end: GenerationEnd): void {
    const { terminal, content, ...facts } = end;
    const { type: outcome, config, model, usage, costUsd, timing } = terminal;
    const { raw: _raw, ...tokens } = usage;
    this.#counters?.generationEnded(terminal);
    const { steps = 1, limit, object } = terminal.type === 'done' ? terminal : {};
    this.#log.info(
      {
        ...facts,
        config,
        model,
        outcome,
        ...(terminal.type === 'done' ? { stopReason: terminal.stopReason } : {}),
        ...(steps > 1 ? { steps, limit } : {}),
        ...(object === undefined ? {} : { object }),
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

  /** A request to upstream has ended, well or not. Counted, and not logged: a failure has a line of its own. */
  upstreamAttempted(config: string, code: AttemptCode): void {
    this.#counters?.upstreamAttempted(config, code);
  }

  upstreamAttemptFailed({ error, ...facts }: AttemptFailure): void {
    this.#log.warn(
      { ...facts, code: error.code, requestId: error.requestId, cause: causeOf(error, isUnexplained) },
      'upstream failed',
    );
  }

  /** A tool of a config has thrown, or given what its own schema refuses. */
  toolFailed({ error, ...facts }: ToolFailure): void {
    this.#log.warn({ ...facts, ...(error === undefined ? {} : { cause: causeOf(error) }) }, 'tool failed');
  }

  /** A request was refused. Each code has a few lines a second; further refusals are counted, and the count is logged. */
  refused(refusal: Refusal): void {
    this.#counters?.refused(refusal.door, refusal.code);
    this.#refusals.write(refusal);
  }

  /** A view was opened at this door. Counted, and not logged. */
  viewerCame(door: RefusalDoor): void {
    this.#counters?.viewerCame(door);
  }

  /** Called once for each call of `viewerCame`. */
  viewerLeft(door: RefusalDoor): void {
    this.#counters?.viewerLeft(door);
  }

  /**
   * A call of a tool was answered. Counted, and not logged.
   *
   * @param tool One of the config's tools, or `unknown`: a model can make up any name, and each would be kept for ever.
   * @param outcome `ok`, or the code of the failure.
   */
  toolCalled(config: string, tool: string, outcome: string): void {
    this.#counters?.toolCalled(config, tool, outcome);
  }

  /** An error was thrown that has no code: a bug of this service. */
  internalError(where: string, error: unknown): void {
    this.#log.error({ where, cause: causeOf(error) }, 'internal error');
  }

  /** The `authenticate` of an embedding app threw: most likely for a wrong token, perhaps for an error within the app. */
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
 * What the log may hold of an error and its causes: class, code and status, but no message. Messages quote what was sent: those
 * of the SDK hold upstream's response, which can hold a prompt, and URLs can hold credentials.
 *
 * @param frames Whether the log holds the stack frames of this cause.
 */
function causeOf(error: unknown, frames: (cause: Error) => boolean = () => true): unknown {
  try {
    return chainOf(error, frames);
  } catch {
    // A tool can throw anything, also an object whose getters throw.
    return 'an error that can’t be read';
  }
}

function chainOf(error: unknown, frames: (cause: Error) => boolean): unknown {
  const chain: unknown[] = [];
  for (let cause = error; cause instanceof Error && chain.length < 5; cause = cause.cause) {
    const { code, status, type, requestPath, check } = cause as unknown as Readonly<Partial<Record<string, unknown>>>;
    chain.push({
      name: cause.name,
      ...(typeof code === 'string' ? { code } : {}),
      ...(typeof status === 'number' ? { status } : {}),
      // Upstream chooses the type. Text that isn't one word is no type of an error, and might quote something.
      ...(typeof type === 'string' && /^\w{1,64}$/.test(type) ? { type } : {}),
      ...(typeof requestPath === 'string' ? { path: requestPath } : {}),
      ...(typeof check === 'string' ? { check } : {}),
      ...(frames(cause) ? { stack: framesOf(cause) } : {}),
    });
  }
  return chain.length === 0 ? typeof error : chain;
}

/** Whether nothing but its stack explains the error. For an upstream that is overloaded, frames of this code would explain nothing. */
function isUnexplained(error: Error): boolean {
  const { code, status } = error as { code?: unknown; status?: unknown };
  return code === undefined && status === undefined && !(error.cause instanceof Error);
}

/** The frames of a stack. A stack begins with the message, which is left out since any line of it can look like a frame. */
function framesOf({ stack = '', message }: Error): string[] {
  const at = stack.indexOf(message);
  const frames = at === -1 ? [] : stack.slice(at + message.length).split('\n');
  return frames.filter((line) => /^\s+at /.test(line)).slice(0, 8);
}
