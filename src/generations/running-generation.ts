/**
 * A generation that this process produces: the pump that moves events from upstream to the log, and whatever may end it
 * early. Knows its viewers only as a number. Exactly one terminal event goes into the log, and it is the last.
 */
import type { Budgets } from '../access/budgets.ts';
import type { HeldBytes } from '../access/held-bytes.ts';
import type { Caller } from '../caller.ts';
import type { Config } from '../configs/configs.ts';
import { LlmError } from '../errors.ts';
import type { Sink } from '../flow/sink.ts';
import {
  isTerminal,
  protocolVersion,
  type Account,
  type CancelReason,
  type LlmEvent,
  type Message,
  type StartEvent,
  type TerminalEvent,
} from '../protocol.ts';
import type { GenerationRecord, Producer, StreamLog, StreamLogs } from '../stream-log/stream-log.ts';
import type { GenerationTrace } from '../telemetry/generation-trace.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { ToolCalls } from '../tools/tool-calls.ts';
import { AnswerRoom } from '../upstream/answer-room.ts';
import type { LLMService } from '../upstream/llm-service.ts';
import { runEndHook, type OnGenerationEnd } from './generation-end.ts';

/** What a generation needs of the service. */
export interface GenerationParts {
  readonly logs: StreamLogs;
  readonly llm: LLMService;
  /** The account of the bytes that are held of an answer beside its log. */
  readonly held: HeldBytes;
  /** Counts what each generation has used up. Unless given, nothing is counted. */
  readonly budgets?: Budgets | undefined;
  /** Bytes that may be held of one answer there; its log may hold as many. */
  readonly logBytesMax: number;
  /** Bytes that the result of one call may have. */
  readonly toolResultBytesMax: number;
  /** Takes a place among the generations that wait for clients. Throws where there is none. */
  readonly admission: { admitWaiting(caller: Caller): Disposable };
  readonly telemetry: Telemetry;
  readonly onGenerationEnd?: OnGenerationEnd | undefined;
}

export class RunningGeneration {
  /** The log once it is open; undefined if it couldn't be opened. Never rejects. */
  readonly opened: Promise<StreamLog | undefined>;
  /** Settles when upstream is closed and the terminal event is in the log, or the log has given up on writing it. Never rejects. */
  readonly done: Promise<void>;
  /** Settles after that, when the end hook has settled too. Never rejects. */
  readonly settled: Promise<void>;
  readonly #parts: GenerationParts;
  readonly #key: Omit<GenerationRecord, 'config' | 'startedAt'>;
  readonly #config: Config;
  readonly #messages: readonly Message[];
  readonly #variables: Readonly<Record<string, string>>;
  readonly #trace: GenerationTrace | undefined;
  readonly #abort = new AbortController();
  readonly #startedAtMs = performance.now();
  readonly #resolveOpened: (log: StreamLog | undefined) => void;
  readonly #resolveDone: () => void;
  readonly #resolveSettled: () => void;
  #log: StreamLog | undefined;
  /** Undefined where the config has no tools. */
  #tools: ToolCalls | undefined;
  #terminal: TerminalEvent | undefined;
  #viewers = 0;
  #viewersSeen = 0;
  /** Runs while nobody watches; undefined otherwise, and where the config says to go on without viewers. */
  #disconnectClock: NodeJS.Timeout | undefined;

  constructor(
    parts: GenerationParts,
    key: Omit<GenerationRecord, 'config' | 'startedAt'>,
    config: Config,
    messages: readonly Message[],
    variables: Readonly<Record<string, string>>,
    trace?: GenerationTrace,
  ) {
    this.#parts = parts;
    this.#key = key;
    this.#config = config;
    this.#messages = messages;
    this.#variables = variables;
    this.#trace = trace;
    ({ promise: this.opened, resolve: this.#resolveOpened } = deferred<StreamLog | undefined>());
    ({ promise: this.done, resolve: this.#resolveDone } = deferred<void>());
    ({ promise: this.settled, resolve: this.#resolveSettled } = deferred<void>());
  }

  /** Opens the log and sets the pump going. Where the log exists already, nothing is run, and that log is returned. */
  async open(): Promise<StreamLog> {
    const producer: Producer = {
      cancel: () => this.#abort.abort('requested' satisfies CancelReason),
      viewerCame: () => this.viewerCame(),
      viewerLeft: () => this.viewerLeft(),
      ...(this.#config.tools ? { resolve: (answers) => this.#tools!.resolve(answers) } : {}),
    };
    try {
      // Within the `try`, since a host's config may throw when it is looked into.
      const start = this.#startEvent();
      const record = { ...this.#key, config: start.config, startedAt: start.startedAt };
      const { log, created } = await this.#parts.logs.open(record, start, producer);
      this.#log = log;
      this.#tools = this.#toolCalls(log);
      this.#resolveOpened(log);
      if (created) void this.#run(log);
      else this.#resolveUnrun();
      return log;
    } catch (error) {
      this.#resolveOpened(undefined);
      this.#resolveUnrun();
      throw error;
    }
  }

  /**
   * Aborts the model call, and settles with `done`. Returns whether this call ended the generation, rather than something
   * that came before it; undefined if the log was never opened.
   */
  async cancel(reason: CancelReason): Promise<boolean | undefined> {
    this.#abort.abort(reason);
    await this.done;
    return this.#terminal && this.#terminal.type === 'cancelled' && this.#terminal.reason === reason;
  }

  viewerCame(): void {
    this.#viewers += 1;
    this.#viewersSeen += 1;
    clearTimeout(this.#disconnectClock);
    this.#disconnectClock = undefined;
  }

  viewerLeft(): void {
    this.#viewers -= 1;
    if (this.#viewers === 0 && !this.#terminal) this.#startDisconnectClock();
  }

  #startDisconnectClock(): void {
    const { onDisconnect } = this.#config;
    if (onDisconnect === 'continue') return;
    this.#disconnectClock = setTimeout(() => void this.#disconnect(), onDisconnect.cancelAfterMs);
  }

  /** The disconnect clock has run out. Never rejects. */
  async #disconnect(): Promise<void> {
    const clock = this.#disconnectClock;
    try {
      await this.#log!.recountViewers();
    } catch {
      // Another instance may have viewers. Nobody can say now, so the generation gets the same time once more.
      if (this.#disconnectClock === clock) this.#startDisconnectClock();
      return;
    }
    // A viewer that came meanwhile has stopped this clock; one that came and left has started another.
    if (this.#disconnectClock === clock) this.#abort.abort('disconnected' satisfies CancelReason);
  }

  async #run(log: StreamLog): Promise<void> {
    try {
      this.#terminal = await this.#pump(log);
      this.#report(log, this.#terminal);
    } catch (error) {
      // The log could not even take its terminal event, so only the log can end its viewers.
      this.#parts.telemetry.internalError('generation', error);
    } finally {
      clearTimeout(this.#disconnectClock);
      this.#resolveDone();
    }
    await this.#runEndHook(log);
    this.#resolveSettled();
  }

  #resolveUnrun(): void {
    this.#resolveDone();
    this.#resolveSettled();
  }

  /** Moves events from upstream to the log, one batch at a time, until the terminal event is in it. Returns that event. */
  async #pump(log: StreamLog): Promise<TerminalEvent> {
    const { llm, held, logBytesMax: bytesMax } = this.#parts;
    using hold = held.take(this.#key.caller, 0);
    const request = {
      config: this.#config,
      messages: this.#messages,
      variables: this.#variables,
      caller: { name: this.#key.caller },
      startedAtMs: this.#startedAtMs,
      room: new AnswerRoom({ bytesMax, hold }),
      tools: this.#tools,
      trace: this.#trace,
    };
    let failure: LlmError | undefined;
    /** The last event that upstream's answer was made into. It has the true cost, also where the log refused it. */
    let last: TerminalEvent | undefined;
    const fail = (error: unknown) => {
      // The log is full, or another instance has ended the generation. The model call is aborted, and read on for what it cost.
      failure = LlmError.from(error);
      this.#abort.abort('requested' satisfies CancelReason);
    };
    const store: Sink<LlmEvent[]> = (batch) => {
      const event = batch.at(-1);
      if (event && isTerminal(event)) last = event;
      return failure ? undefined : log.append(batch)?.catch(fail);
    };
    try {
      await llm.pipe(request, this.#abort.signal, store);
    } catch (error) {
      failure ??= LlmError.from(error);
    }
    if (last) this.#parts.budgets?.spend(this.#key.caller, last);
    else failure ??= upstreamEndedEarly();
    if (failure) failure = await this.#appendFailure(log, failure, last);
    return await this.#terminalIn(log, failure, last);
  }

  /**
   * Ends the log with what failed. Returns why the log has the end that it has: it may have been ended by another instance.
   *
   * @throws what the log throws that doesn't even take its terminal event
   */
  async #appendFailure(log: StreamLog, failure: LlmError, last: TerminalEvent | undefined): Promise<LlmError> {
    if (failure.code === 'producer_lost') return failure;
    if (failure.code === 'internal') this.#parts.telemetry.internalError('pump', failure.cause);
    const terminal = errorEvent(failure, last ? accountOf(last) : this.#unknownAccount());
    try {
      await log.append([terminal]);
    } catch (error) {
      if (LlmError.from(error).code === 'producer_lost') return LlmError.from(error);
      // Of all that the event holds, only upstream's own words can be what a log doesn't take.
      this.#parts.telemetry.internalError('terminal event', error);
      await log.append([{ ...terminal, usage: { ...terminal.usage, raw: null } }]);
    }
    return failure;
  }

  /** The end of the log, which is `last` unless something failed. Where another instance wrote it, that had to guess the cost, which is known here. */
  async #terminalIn(
    log: StreamLog,
    failure: LlmError | undefined,
    last: TerminalEvent | undefined,
  ): Promise<TerminalEvent> {
    if (!failure && last) return last;
    const { terminal } = await log.status();
    if (failure?.code !== 'producer_lost') return terminal!;
    const account = last ? accountOf(last) : this.#unknownAccount();
    return terminal ? { ...terminal, ...account } : errorEvent(failure, account);
  }

  #toolCalls(log: StreamLog): ToolCalls | undefined {
    const { tools, name: config, clientTools } = this.#config;
    if (!tools) return undefined;
    const { telemetry, toolResultBytesMax, admission } = this.#parts;
    const caller = { name: this.#key.caller };
    return new ToolCalls({
      tools,
      caller,
      generationId: this.#key.generationId,
      variables: this.#variables,
      config,
      waitMs: clientTools.waitMs,
      resultBytesMax: toolResultBytesMax,
      recorded: () => log.recorded(),
      admitWaiting: () => admission.admitWaiting(caller),
      telemetry,
      trace: this.#trace,
    });
  }

  #startEvent(): StartEvent {
    const { generationId, thread } = this.#key;
    return {
      type: 'start',
      generationId,
      config: this.#config.name,
      model: this.#config.model,
      simulated: this.#parts.llm.isSimulated(this.#config),
      startedAt: new Date().toISOString(),
      ...(thread === undefined ? {} : { thread }),
      protocol: protocolVersion,
    };
  }

  #unknownAccount(): Account {
    return {
      usage: {
        inputTokens: 0,
        outputTokens: 0,
        cacheReadInputTokens: 0,
        cacheCreationInputTokens: 0,
        estimated: true,
        raw: null,
      },
      costUsd: null,
      timing: { firstTokenMs: null, totalMs: performance.now() - this.#startedAtMs },
      config: this.#config.name,
      model: this.#config.model,
    };
  }

  #report(log: StreamLog, terminal: TerminalEvent): void {
    const { telemetry, llm } = this.#parts;
    telemetry.generationEnded({
      caller: this.#key.caller,
      generationId: this.#key.generationId,
      configHash: this.#config.hash,
      simulated: llm.isSimulated(this.#config),
      terminal,
      viewers: this.#viewersSeen,
      ...(this.#trace ? { traceId: this.#trace.traceId } : {}),
      ...(telemetry.logsContent ? { content: { messages: this.#messages, text: log.produced().text } } : {}),
    });
  }

  async #runEndHook(log: StreamLog): Promise<void> {
    const { onGenerationEnd, telemetry } = this.#parts;
    if (!onGenerationEnd || !this.#terminal) return;
    const { caller: name, generationId } = this.#key;
    await runEndHook(
      onGenerationEnd,
      log,
      {
        caller: { name },
        generationId,
        messages: this.#messages,
        variables: this.#variables,
        terminal: this.#terminal,
      },
      telemetry,
    );
  }
}

function upstreamEndedEarly(): LlmError {
  return new LlmError('internal', 'Internal error', { cause: new Error('upstream ended without a terminal event') });
}

function errorEvent(failure: LlmError, account: Account): Extract<TerminalEvent, { type: 'error' }> {
  const { issues: _issues, ...data } = failure.data;
  return { type: 'error', ...data, ...account };
}

function accountOf({ usage, costUsd, timing, config, model }: TerminalEvent): Account {
  return { usage, costUsd, timing, config, model };
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}
