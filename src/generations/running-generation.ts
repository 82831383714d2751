/**
 * A generation that this process produces: the pump from upstream to the log, and what may end it early. Knows who is
 * watching only as a number. Exactly one terminal event goes into the log, and it is the last.
 */
import type { Config } from '../configs/configs.ts';
import { LlmError } from '../errors.ts';
import { tellEnd, type OnGenerationEnd } from './generation-end.ts';
import type { HeldBytes } from '../access/held-bytes.ts';
import type { LLMService } from '../upstream/llm-service.ts';
import {
  isTerminal,
  protocolVersion,
  type Account,
  type CancelReason,
  type LlmEvent,
  type StreamRequest,
  type TerminalEvent,
} from '../protocol.ts';
import type { Sink } from '../flow/sink.ts';
import type { GenerationKey, StreamLog, StreamLogs } from '../stream-log/stream-log.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { AnswerRoom } from '../upstream/answer-room.ts';

/** What a generation needs of the service. */
export interface GenerationParts {
  readonly logs: StreamLogs;
  readonly llm: LLMService;
  /** Where counts what is held of an answer beside its log. */
  readonly held: HeldBytes;
  /** What one answer may hold there, as in its log. */
  readonly logBytesMax: number;
  readonly telemetry: Telemetry;
  readonly onGenerationEnd?: OnGenerationEnd | undefined;
}

export class RunningGeneration {
  /** The log once it is open; undefined if it couldn't be. Never rejects. */
  readonly opened: Promise<StreamLog | undefined>;
  /** Settles after the terminal event is in the log and upstream is closed. Never rejects. */
  readonly ended: Promise<void>;
  /** Settles when, after that, whoever wants to know of the end has been told. Never rejects. */
  readonly settled: Promise<void>;
  readonly #parts: GenerationParts;
  readonly #key: GenerationKey & { readonly requestHash: string };
  readonly #config: Config;
  readonly #request: StreamRequest;
  readonly #variables: Readonly<Record<string, string>>;
  readonly #abort = new AbortController();
  readonly #startedAtMs = performance.now();
  readonly #resolveOpened: (log: StreamLog | undefined) => void;
  readonly #resolveEnded: () => void;
  readonly #resolveSettled: () => void;
  #terminal: TerminalEvent | undefined;
  #viewers = 0;
  #viewersSeen = 0;
  #disconnectClock: NodeJS.Timeout | undefined;

  constructor(
    parts: GenerationParts,
    key: GenerationKey & { readonly requestHash: string },
    config: Config,
    request: StreamRequest,
    variables: Readonly<Record<string, string>>,
  ) {
    this.#parts = parts;
    this.#key = key;
    this.#config = config;
    this.#request = request;
    this.#variables = variables;
    ({ promise: this.opened, resolve: this.#resolveOpened } = deferred<StreamLog | undefined>());
    ({ promise: this.ended, resolve: this.#resolveEnded } = deferred<void>());
    ({ promise: this.settled, resolve: this.#resolveSettled } = deferred<void>());
  }

  /** Opens the log and sets the pump going. */
  async open(): Promise<StreamLog> {
    const startedAt = new Date().toISOString();
    try {
      const { log, created } = await this.#parts.logs.open(
        { ...this.#key, config: this.#config.name, startedAt },
        {
          type: 'start',
          generationId: this.#key.generationId,
          config: this.#config.name,
          model: this.#config.model,
          simulated: this.#parts.llm.isSimulated(this.#config),
          startedAt,
          protocol: protocolVersion,
        },
      );
      this.#resolveOpened(log);
      if (created) void this.#run(log);
      else this.#end();
      return log;
    } catch (error) {
      this.#resolveOpened(undefined);
      this.#end();
      throw error;
    }
  }

  /** Ends the model call; settles with `ended`. Says whether it was this that ended it; undefined if it never opened. */
  async cancel(reason: CancelReason): Promise<boolean | undefined> {
    this.#abort.abort(reason);
    await this.ended;
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
    const { onDisconnect } = this.#config;
    if (this.#viewers > 0 || this.#terminal || onDisconnect === 'continue') return;
    this.#disconnectClock = setTimeout(
      () => this.#abort.abort('disconnected' satisfies CancelReason),
      onDisconnect.cancelAfterMs,
    );
  }

  async #run(log: StreamLog): Promise<void> {
    try {
      this.#terminal = await this.#pump(log);
      await this.#report(log, this.#terminal);
    } catch (error) {
      // The log could not even take its terminal event; its viewers are the log's to end.
      this.#parts.telemetry.internalError('generation', error);
    } finally {
      clearTimeout(this.#disconnectClock);
      this.#resolveEnded();
    }
    await this.#tellEnd(log);
    this.#resolveSettled();
  }

  /** Nothing was run. */
  #end(): void {
    this.#resolveEnded();
    this.#resolveSettled();
  }

  /** Moves events from upstream to the log, one batch at a time, until the terminal one is in it. */
  async #pump(log: StreamLog): Promise<TerminalEvent> {
    const { llm, held, logBytesMax: bytesMax } = this.#parts;
    using hold = held.take(this.#key.caller, 0);
    const request = {
      config: this.#config,
      messages: this.#request.messages,
      variables: this.#variables,
      startedAtMs: this.#startedAtMs,
      room: new AnswerRoom({ bytesMax, hold }),
    };
    let failure: LlmError | undefined;
    let ended: TerminalEvent | undefined;
    const fail = (error: unknown) => {
      // The log is full, or gone: end the model call, and read on for what it cost.
      failure = LlmError.from(error);
      this.#abort.abort('requested' satisfies CancelReason);
    };
    const store: Sink<LlmEvent[]> = (batch) => {
      const last = batch.at(-1);
      if (last && isTerminal(last)) ended = last;
      return failure ? undefined : log.append(batch)?.catch(fail);
    };
    try {
      await llm.pipe(request, this.#abort.signal, store);
    } catch (error) {
      failure ??= LlmError.from(error);
    }
    if (ended && !failure) return ended;
    failure ??= new LlmError('internal', 'Internal error', {
      cause: new Error('upstream ended without a terminal event'),
    });
    if (failure.code === 'internal') this.#parts.telemetry.internalError('pump', failure.cause);
    const { issues: _issues, ...data } = failure.data;
    const terminal: TerminalEvent = { type: 'error', ...data, ...(ended ? accountOf(ended) : this.#unknownAccount()) };
    try {
      await log.append([terminal]);
      return terminal;
    } catch (error) {
      // Of all that is in it, only upstream's own words can be what does not go into a log.
      this.#parts.telemetry.internalError('terminal event', error);
      const bare = { ...terminal, usage: { ...terminal.usage, raw: null } };
      await log.append([bare]);
      return bare;
    }
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

  async #report(log: StreamLog, terminal: TerminalEvent): Promise<void> {
    const { telemetry, llm } = this.#parts;
    telemetry.generationEnded({
      caller: this.#key.caller,
      generationId: this.#key.generationId,
      configHash: this.#config.hash,
      simulated: llm.isSimulated(this.#config),
      terminal,
      viewers: this.#viewersSeen,
      ...(telemetry.logsContent
        ? { content: { messages: this.#request.messages, text: (await log.snapshot()).text } }
        : {}),
    });
  }

  async #tellEnd(log: StreamLog): Promise<void> {
    const { onGenerationEnd, telemetry } = this.#parts;
    if (!onGenerationEnd || !this.#terminal) return;
    const { caller: name, generationId } = this.#key;
    const { messages } = this.#request;
    const facts = { caller: { name }, generationId, messages, variables: this.#variables, terminal: this.#terminal };
    await tellEnd(onGenerationEnd, log, facts, telemetry);
  }
}

function accountOf({ usage, costUsd, timing, config, model }: TerminalEvent): Account {
  return { usage, costUsd, timing, config, model };
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}
