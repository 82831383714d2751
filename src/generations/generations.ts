/**
 * The life of a generation: start or attach, follow, cancel, end. Knows nothing of HTTP, tRPC or Redis.
 *
 * One generation is one upstream call sequence, one log and one terminal event. A viewer's signal ends only its own read; the
 * model call has a signal of its own.
 */
import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { mayUse, type Caller } from '../caller.ts';
import { checkVariables, type Config, type ConfigSnapshot } from '../configs/configs.ts';
import { LlmError } from '../errors.ts';
import { suggestion } from '../settings/problems.ts';
import {
  formatEventId,
  parseEventId,
  type CallAnswer,
  type CancelOutcome,
  type FollowRequest,
  type GenerationSnapshot,
  type GenerationSummary,
  type PageRequest,
  type Resumable,
  type StreamRequest,
} from '../protocol.ts';
import type { Admission, Entrance } from './entrance.ts';
import { isLarge, measureRequest, type MeasuredRequest } from './request-identity.ts';
import { RunningGeneration, type GenerationParts } from './running-generation.ts';
import { View, type LogView } from './view.ts';
import {
  callsAnswered,
  generationNotFound,
  type GenerationKey,
  type LogReader,
  type LogStatus,
  type StreamLog,
  type TakeRoom,
} from '../stream-log/stream-log.ts';
import { ownTurn } from '../flow/turns.ts';
import { within } from '../flow/within.ts';

export interface GenerationsOptions extends GenerationParts {
  /** Returns the configs of this moment. A generation keeps the config that it was started with. */
  readonly configs: () => ConfigSnapshot;
  readonly admission: Admission;
  /** How long an id can't be started that was cancelled before it was started. */
  readonly barMs: number;
}

/** Refuses nothing. For callers within the process: what they get is returned to them, and waits in no socket. */
const unbounded: TakeRoom = () => undefined;
const pageEntriesDefault = 100;
/** Bytes that a summary takes until it was sent: an object, and its JSON. */
const summaryBytes = 2_048;
/** Characters of a config's name that a refusal repeats. */
const namedConfigCharsMax = 100;
const shutdownRetryAfterMs = 1_000;
/** How long a drain waits, after it has stopped the generations that were left, for their ends to be in the logs. */
const endsWrittenMs = 2_000;
/** How long a drain waits, after all generations have ended, for viewers that haven't read to the end. */
const viewersLeaveMs = 2_000;

export class Generations implements AsyncDisposable {
  readonly #options: GenerationsOptions;
  /** The generations that this process produces, each from before its log is opened until its upstream is closed. */
  readonly #running = new Map<string, RunningGeneration>();
  /** A promise for each generation that runs, or whose end hook runs. */
  readonly #settling = new Set<Promise<void>>();
  #viewers = 0;
  /** Called when the last viewer leaves. A drain waits for it. */
  #allLeft: () => void = () => {};
  #draining = false;

  constructor(options: GenerationsOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running.size;
  }

  /** Whether new generations are started, or why not: a drain has begun, or the stream logs can't be reached. */
  get readiness(): 'ready' | 'shutting_down' | 'logs_unreachable' {
    if (this.#draining) return 'shutting_down';
    return this.#options.logs.reachable ? 'ready' : 'logs_unreachable';
  }

  /**
   * Starts the generation that is asked for, or attaches to it if the caller has one of that id, and follows it: the view gives
   * the events after `lastEventId`, then each later one as it is added, and finishes after the terminal event or when the
   * signal aborts.
   *
   * The call itself only makes the view. Its first `next()` or `pipe()` takes a viewer's place, finds the log or starts the
   * generation, and opens a reader.
   *
   * @throws LlmError at the first `next()`, or by `pipe()`: `invalid_input`, `conflict`, `generation_not_found`, `rate_limited`,
   *   `at_capacity`, and where a generation would start also `config_not_found`, `shutting_down`, and what `checkStart` throws.
   */
  stream(caller: Caller, request: StreamRequest, signal: AbortSignal, entrance: Entrance = {}): LogView {
    return new View(signal, (view) => this.#openStream(view, caller, request, entrance));
  }

  /** As `stream`, but attaches only: to the generation of an id, or to the newest one of a thread. */
  follow(caller: Caller, request: FollowRequest, signal: AbortSignal, entrance: Entrance = {}): LogView {
    return new View(signal, (view) => this.#openFollow(view, caller, request, entrance));
  }

  /**
   * Ends a generation, whichever instance runs it. Settles once upstream's socket is closed and the terminal event is in the log;
   * where that is out of reach, when the process that runs it has given up.
   *
   * @throws LlmError `generation_not_found` if there is no log. The id is then refused for `barMs`, because its start may arrive
   *   after this cancel.
   */
  async cancel(caller: Caller, generationId: string): Promise<CancelOutcome> {
    const key = { caller: caller.name, generationId };
    const cancelled = await this.#running.get(mapKey(key))?.cancel('requested');
    if (cancelled !== undefined) return cancelled ? 'cancelled' : 'already_ended';
    const log = await this.#options.logs.bar(key, this.#options.barMs);
    if (!log) throw generationNotFound();
    if ((await log.status()).state !== 'running') return 'already_ended';
    // Another instance runs it.
    const terminal = await log.cancel();
    return terminal.type === 'cancelled' && terminal.reason === 'requested' ? 'cancelled' : 'already_ended';
  }

  /**
   * Gives a generation what its client has answered to calls that wait for it, whichever instance runs it. Returns how many calls
   * that were. The first answer to a call wins.
   *
   * @throws LlmError `generation_not_found`; `invalid_input` where an id never was a waiting call, or an answer doesn't fit it;
   *   `conflict` where a call was answered before or the generation has ended; `too_large`. Nothing is taken then.
   */
  async resolve(caller: Caller, generationId: string, answers: readonly CallAnswer[]): Promise<number> {
    const log = await this.#find({ caller: caller.name, generationId });
    if (!log) throw generationNotFound();
    if ((await log.status()).state !== 'running') throw callsAnswered(answers);
    return log.resolve(answers);
  }

  /** @throws LlmError `generation_not_found`, and whatever `room` throws */
  async snapshot(caller: Caller, generationId: string, room: TakeRoom = unbounded): Promise<GenerationSnapshot> {
    const log = await this.#find({ caller: caller.name, generationId });
    if (!log) throw generationNotFound();
    const { text, ...status } = await log.snapshot(room);
    return { ...summarize(log, status), text };
  }

  /**
   * A page of the caller's generations that run or are kept, newest first; with a `thread`, of those that were started with it.
   *
   * @throws LlmError `generation_not_found` where `before` is none of them, and whatever `room` throws
   */
  async list(caller: Caller, page: PageRequest = {}, room: TakeRoom = unbounded): Promise<GenerationSummary[]> {
    const { limit = pageEntriesDefault, before, thread } = page;
    const logs = await this.#options.logs.list(caller.name, { limit, before, thread });
    await room(logs.length * summaryBytes);
    return Promise.all(logs.map(async (log) => summarize(log, await log.status())));
  }

  /**
   * Starts no new generations from now on, and waits up to `drainMs` for the running ones to finish. Ends those that remain as
   * `cancelled: shutdown`, or as `producer_lost` where the stream logs are out of reach then. Closes as moved the views of generations that other instances run, and waits up to 2 s for all
   * other viewers to take their terminal event.
   */
  async drain(drainMs: number): Promise<void> {
    if (!this.#draining) this.#options.telemetry.draining(this.#running.size);
    this.#draining = true;
    await within(drainMs, Promise.all([...this.#running.values()].map(({ done }) => done)));
    const ends = Promise.all([...this.#running.values()].map((generation) => generation.cancel('shutdown')));
    // Whoever waits for a store that is out of reach waits longer than a drain may take.
    const { logs } = this.#options;
    if (!(await within(logs.reachable ? endsWrittenMs : 0, ends))) logs.giveUp();
    await ends;
    await Promise.all(this.#settling);
    logs.moveReaders();
    // In this turn the doors say so to the viewers that were moved, before whoever drains closes their connections.
    await nextTurn();
    if (this.#viewers > 0) await within(viewersLeaveMs, new Promise<void>((resolve) => (this.#allLeft = resolve)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0);
  }

  async #find(key: GenerationKey): Promise<StreamLog | undefined> {
    return (await this.#running.get(mapKey(key))?.opened) ?? this.#options.logs.find(key);
  }

  /** Starts a generation. If another request is just starting one of the same id, returns the log of that. */
  async #start(
    caller: Caller,
    request: StreamRequest,
    generationId: string,
    measured: MeasuredRequest,
    entrance: Entrance,
  ): Promise<StreamLog> {
    if (this.#draining) throw shuttingDown();
    const named = this.#config(caller, request.config);
    const config = entrance.adapt ? entrance.adapt(named) : named;
    const variables = request.variables ?? {};
    checkVariables(config, variables);

    const key = { caller: caller.name, generationId };
    // The body for upstream holds the prompt too. One letter beyond ASCII makes each of its letters take two bytes.
    const heldBytes = measured.heldBytes + 2 * config.prompt.charsOf(variables);
    const place = await this.#options.admission.admitGeneration(caller, heldBytes);
    // A drain that has begun meanwhile doesn't know of this generation, and wouldn't wait for it.
    if (this.#draining) {
      place[Symbol.dispose]();
      throw shuttingDown();
    }
    const other = this.#running.get(mapKey(key));
    if (other) {
      place[Symbol.dispose]();
      return (await other.opened) ?? this.#start(caller, request, generationId, measured, entrance);
    }
    const generation = new RunningGeneration(
      this.#options,
      { ...key, requestHash: measured.identity, thread: request.thread },
      config,
      request.messages,
      variables,
      this.#options.telemetry.traces?.generation(entrance.trace, { generationId }),
    );
    this.#running.set(mapKey(key), generation);
    void generation.done.then(() => this.#running.delete(mapKey(key)));
    this.#settling.add(generation.settled);
    void generation.settled.then(() => {
      this.#settling.delete(generation.settled);
      place[Symbol.dispose]();
    });
    return generation.open();
  }

  #config(caller: Caller, name: string): Config {
    const configs = this.#options.configs();
    const config = configs.get(name);
    if (config && mayUse(caller, name)) return config;
    const names = configs.names.filter((each) => mayUse(caller, each));
    const named = name.length > namedConfigCharsMax ? `${name.slice(0, namedConfigCharsMax)}…` : name;
    const meant = suggestion(named, names) || '.';
    const known = names.join(', ') || 'none';
    throw new LlmError(
      'config_not_found',
      `Configuration not found: ${JSON.stringify(named)}${meant} Known are: ${known}`,
    );
  }

  async #openStream(view: View, caller: Caller, request: StreamRequest, entrance: Entrance): Promise<LogReader> {
    entrance.trace?.within(request.traceparent);
    this.#takeViewerPlace(view, caller);
    const cursor = parseCursor(request);
    const log = await this.#findOrStart(caller, request, cursor, entrance);
    return this.#read(view, log, cursor, entrance);
  }

  async #openFollow(view: View, caller: Caller, request: FollowRequest, entrance: Entrance): Promise<LogReader> {
    entrance.trace?.within(request.traceparent);
    this.#takeViewerPlace(view, caller);
    const cursor = parseCursor(request);
    const log = await this.#findFollowed(caller, request, cursor);
    if (!log) throw generationNotFound();
    return this.#read(view, log, cursor, entrance);
  }

  /** The log that a request follows. A viewer of a thread that comes back goes on with the generation whose events it has seen. */
  async #findFollowed(
    { name: caller }: Caller,
    { generationId, thread }: FollowRequest,
    cursor: Cursor | undefined,
  ): Promise<StreamLog | undefined> {
    const id = generationId ?? cursor?.generationId;
    if (id === undefined) return (await this.#options.logs.list(caller, { limit: 1, thread }))[0];
    const log = await this.#find({ caller, generationId: id });
    if (log && thread !== undefined && log.record.thread !== thread) {
      throw LlmError.invalidInput([{ path: 'lastEventId', message: 'belongs to a generation of another thread' }]);
    }
    return log;
  }

  #takeViewerPlace(view: View, caller: Caller): void {
    const place = this.#options.admission.admitViewer(caller, view.move);
    view.onClose(() => place[Symbol.dispose]());
  }

  async #findOrStart(
    caller: Caller,
    request: StreamRequest,
    cursor: Cursor | undefined,
    entrance: Entrance,
  ): Promise<StreamLog> {
    const generationId = request.generationId ?? cursor?.generationId;
    // Parsing, measuring and sending ten megabytes in one turn would delay every other token by a fifth of a second.
    const large = isLarge(request);
    if (large) await ownTurn();
    const measured = measureRequest(request);
    if (large) await ownTurn();
    let log: StreamLog | undefined;
    if (generationId !== undefined) {
      log = await this.#find({ caller: caller.name, generationId });
      // A client that has seen an event got it from this generation. If that is gone, it is never started again.
      if (!log && cursor) throw generationNotFound();
    }
    if (!log) entrance.checkStart?.();
    log ??= await this.#start(caller, request, generationId ?? randomUUID(), measured, entrance);
    if (log.record.requestHash !== measured.identity) {
      throw new LlmError(
        'conflict',
        'This generationId belongs to another request: config, messages or variables differ',
      );
    }
    return log;
  }

  /** Opens the view's reader, and counts its viewer from then on. */
  async #read(
    view: View,
    log: StreamLog,
    cursor: Cursor | undefined,
    { door = 'embedded', trace }: Entrance,
  ): Promise<LogReader> {
    const { telemetry } = this.#options;
    // A viewer whose cursor is refused here never counted, so it stops no disconnect clock.
    const reader = await log.read(cursor?.offset ?? -1, view.signal, view.close);
    const generation = this.#running.get(mapKey(log.record));
    generation?.viewerCame();
    this.#viewers += 1;
    telemetry.viewerCame(door);
    trace?.serves(log.record.generationId, log.record.config);
    view.onClose(() => {
      telemetry.viewerLeft(door);
      generation?.viewerLeft();
      this.#viewers -= 1;
      if (this.#viewers === 0) this.#allLeft();
    });
    return reader;
  }
}

function shuttingDown(): LlmError {
  return new LlmError('shutting_down', 'The service is shutting down and takes no new generations', {
    retryAfterMs: shutdownRetryAfterMs,
  });
}

function summarize(log: StreamLog, { state, lastOffset, terminal }: LogStatus): GenerationSummary {
  const { generationId, config, startedAt, thread } = log.record;
  return {
    generationId,
    config,
    state,
    lastEventId: formatEventId(generationId, lastOffset),
    startedAt,
    ...(thread === undefined ? {} : { thread }),
    ...(terminal ? { terminal } : {}),
  };
}

interface Cursor {
  readonly generationId: string;
  readonly offset: number;
}

/** @throws LlmError `invalid_input` where `lastEventId` is not an event id, or is one of another generation. */
function parseCursor({
  generationId,
  lastEventId,
}: Resumable & { readonly generationId?: string | undefined }): Cursor | undefined {
  if (lastEventId === undefined || lastEventId === null || lastEventId === '') return undefined;
  const cursor = parseEventId(lastEventId);
  if (!cursor) {
    throw LlmError.invalidInput([{ path: 'lastEventId', message: 'expected the id of an event of this service' }]);
  }
  if (generationId !== undefined && cursor.generationId !== generationId) {
    throw LlmError.invalidInput([{ path: 'lastEventId', message: 'belongs to another generation than generationId' }]);
  }
  return cursor;
}

/** A generationId has no blank in it, so no two keys give the same text. */
function mapKey({ caller, generationId }: GenerationKey): string {
  return `${generationId} ${caller}`;
}
