/**
 * The life of a generation: start or attach, follow, cancel, end. Knows nothing of HTTP, tRPC or Redis.
 *
 * One generation is one upstream call sequence, one log, one terminal event. Its lifetime and its viewers' are apart:
 * a viewer's signal ends a read, only the generation's own ends the model call.
 */
import { randomUUID } from 'node:crypto';
import type { Caller } from '../caller.ts';
import { checkVariables, type Config, type ConfigSnapshot } from '../configs/configs.ts';
import { LlmError } from '../errors.ts';
import { suggestion } from '../settings/problems.ts';
import {
  formatEventId,
  parseEventId,
  type CancelOutcome,
  type FollowRequest,
  type GenerationSnapshot,
  type GenerationSummary,
  type PageRequest,
  type Resumable,
  type StreamRequest,
} from '../protocol.ts';
import { measureRequest, type MeasuredRequest } from './request-identity.ts';
import { RunningGeneration, type GenerationParts } from './running-generation.ts';
import type { Sink } from '../flow/sink.ts';
import {
  generationNotFound,
  type GenerationKey,
  type LogBatch,
  type LogReader,
  type LogStatus,
  type StreamLog,
} from '../stream-log/stream-log.ts';
import { within } from '../flow/within.ts';

/** What a viewer of a generation gets: the batches of its log after the viewer's cursor, pulled or piped, not both. */
export interface LogView extends LogReader {
  [Symbol.asyncIterator](): LogView;
}

export interface GenerationsOptions extends GenerationParts {
  /** The configs as they stand now; a generation keeps the one it started with. */
  readonly configs: () => ConfigSnapshot;
  readonly admission: Admission;
  /** How long an id stays barred whose cancel came before its start. */
  readonly barMs: number;
}

/** Who may start, and how many may watch. Attaching to what runs asks for a viewer's place only. */
export interface Admission {
  /** @param requestBytes What its request holds in memory while it runs. */
  admitGeneration(caller: Caller, requestBytes: number): Promise<Disposable>;
  admitViewer(caller: Caller): Disposable;
}

/** Called with what an answer will hold in memory, and awaited, before it is made. May throw what refuses it. */
export type TakeRoom = (bytes: number) => Promise<void> | undefined;

/** For callers within the process, whose answers wait in no socket. */
const unbounded: TakeRoom = () => undefined;
const pageEntriesDefault = 100;
/** What a summary holds until it has left: an object, and its JSON. */
const summaryBytes = 2_048;
/** A refusal repeats no more of a config's name than this. */
const namedConfigCharsMax = 100;
const shutdownRetryAfterMs = 1_000;
/** How long a drain waits, after all generations have ended, for viewers that are still behind. */
const viewersLeaveMs = 2_000;

export class Generations implements AsyncDisposable {
  readonly #options: GenerationsOptions;
  /** Those that this process produces, from before their log is opened until their upstream is closed. */
  readonly #running = new Map<string, RunningGeneration>();
  /** One for each generation that runs, or whose end is still being told. */
  readonly #settling = new Set<Promise<void>>();
  #viewers = 0;
  /** Wakes a drain that waits for the viewers to have read to the end. */
  #allLeft: () => void = () => {};
  #draining = false;

  constructor(options: GenerationsOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running.size;
  }

  /** Whether new generations are taken. */
  get ready(): boolean {
    return !this.#draining;
  }

  /**
   * Starts the generation that is asked for, or attaches to it if the caller has one of that id, and follows it: gives
   * what lies after `lastEventId`, then what comes, and ends after the terminal event or when the signal aborts.
   *
   * @throws LlmError at the first `next()`, or by `pipe()`: `invalid_input`, `conflict`, `generation_not_found`, and where
   *   a generation would start also `config_not_found`, `rate_limited`, `at_capacity`, `shutting_down`.
   * @param checkStart Called before a generation is started; throws where whoever asks may only attach.
   */
  stream(caller: Caller, request: StreamRequest, signal: AbortSignal, checkStart?: () => void): LogView {
    return this.#view(caller, request, signal, async (cursor) => {
      const generationId = request.generationId ?? cursor?.generationId;
      const measured = measureRequest(request);
      let log: StreamLog | undefined;
      if (generationId !== undefined) {
        log = await this.#find({ caller: caller.name, generationId });
        // Whoever has seen an event has had it from this generation; it can be gone, but it is never started again.
        if (!log && cursor) throw generationNotFound();
      }
      if (!log) checkStart?.();
      log ??= await this.#start(caller, request, generationId ?? randomUUID(), measured);
      if (log.record.requestHash !== measured.identity) {
        throw new LlmError(
          'conflict',
          'This generationId belongs to another request: config, messages or variables differ',
        );
      }
      return log;
    });
  }

  /** As `stream`, but attaches only. */
  follow(caller: Caller, request: FollowRequest, signal: AbortSignal): LogView {
    return this.#view(caller, request, signal, async () => {
      const log = await this.#find({ caller: caller.name, generationId: request.generationId });
      if (!log) throw generationNotFound();
      return log;
    });
  }

  /**
   * Ends a generation. Settles once its terminal event is in the log and upstream's socket is closed.
   *
   * @throws LlmError `generation_not_found`; the id can't be started for a while then, for a cancel may overtake its start.
   */
  async cancel(caller: Caller, generationId: string): Promise<CancelOutcome> {
    const key = { caller: caller.name, generationId };
    const cancelled = await this.#running.get(mapKey(key))?.cancel('requested');
    if (cancelled !== undefined) return cancelled ? 'cancelled' : 'already_ended';
    const log = await this.#options.logs.bar(key, this.#options.barMs);
    if (!log) throw generationNotFound();
    return 'already_ended';
  }

  /** @throws LlmError `generation_not_found`, and what `room` throws */
  async snapshot(caller: Caller, generationId: string, room: TakeRoom = unbounded): Promise<GenerationSnapshot> {
    const log = await this.#find({ caller: caller.name, generationId });
    if (!log) throw generationNotFound();
    await room((await log.status()).bytes);
    const { text, ...status } = await log.snapshot();
    return { ...summarize(log, status), text };
  }

  /**
   * A page of the caller's generations that run or are kept, newest first.
   *
   * @throws LlmError `generation_not_found` where the one that it begins after is gone, and what `room` throws
   */
  async list(caller: Caller, page: PageRequest = {}, room: TakeRoom = unbounded): Promise<GenerationSummary[]> {
    const { limit = pageEntriesDefault, before } = page;
    const logs = await this.#options.logs.list(caller.name, { limit, before });
    await room(logs.length * summaryBytes);
    return Promise.all(logs.map(async (log) => summarize(log, await log.status())));
  }

  /**
   * Takes no new generations, lets the running ones finish within `drainMs`, ends the rest as `cancelled: shutdown`, and
   * gives viewers a moment to take their terminal event.
   */
  async drain(drainMs: number): Promise<void> {
    if (!this.#draining) this.#options.telemetry.draining(this.#running.size);
    this.#draining = true;
    await within(drainMs, Promise.all([...this.#running.values()].map(({ ended }) => ended)));
    await Promise.all([...this.#running.values()].map((generation) => generation.cancel('shutdown')));
    await Promise.all(this.#settling);
    if (this.#viewers > 0) await within(viewersLeaveMs, new Promise<void>((resolve) => (this.#allLeft = resolve)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0);
  }

  async #find(key: GenerationKey): Promise<StreamLog | undefined> {
    return (await this.#running.get(mapKey(key))?.opened) ?? this.#options.logs.find(key);
  }

  /** Starts, or joins a start of the same id that is on its way. */
  async #start(
    caller: Caller,
    request: StreamRequest,
    generationId: string,
    measured: MeasuredRequest,
  ): Promise<StreamLog> {
    if (this.#draining) {
      throw new LlmError('shutting_down', 'The service is shutting down and takes no new generations', {
        retryAfterMs: shutdownRetryAfterMs,
      });
    }
    const config = this.#config(request.config);
    const variables = request.variables ?? {};
    checkVariables(config, variables);

    const key = { caller: caller.name, generationId };
    // The prompt is in the body for upstream, two bytes for each letter where one is beyond ASCII.
    const heldBytes = measured.heldBytes + 2 * config.prompt.charsOf(variables);
    const place = await this.#options.admission.admitGeneration(caller, heldBytes);
    const other = this.#running.get(mapKey(key));
    if (other) {
      place[Symbol.dispose]();
      return (await other.opened) ?? this.#start(caller, request, generationId, measured);
    }
    const generation = new RunningGeneration(
      this.#options,
      { ...key, requestHash: measured.identity },
      config,
      request,
      variables,
    );
    this.#running.set(mapKey(key), generation);
    void generation.ended.then(() => this.#running.delete(mapKey(key)));
    this.#settling.add(generation.settled);
    void generation.settled.then(() => {
      this.#settling.delete(generation.settled);
      place[Symbol.dispose]();
    });
    return generation.open();
  }

  #config(name: string): Config {
    const configs = this.#options.configs();
    const config = configs.get(name);
    if (config) return config;
    const named = name.length > namedConfigCharsMax ? `${name.slice(0, namedConfigCharsMax)}…` : name;
    const meant = suggestion(named, configs.names) || '.';
    const known = configs.names.join(', ');
    throw new LlmError(
      'config_not_found',
      `Configuration not found: ${JSON.stringify(named)}${meant} Known are: ${known}`,
    );
  }

  #view(caller: Caller, request: Resumable, signal: AbortSignal, attach: Attach): LogView {
    return new View(signal, async (atEnd, ended) => {
      const place = this.#options.admission.admitViewer(caller);
      atEnd(() => place[Symbol.dispose]());
      const cursor = parseCursor(request);
      const log = await attach(cursor);
      // Whoever is refused here was no viewer, and stops no clock.
      const batches = log.read(cursor?.offset ?? -1, signal, ended);
      const generation = this.#running.get(mapKey(log.record));
      generation?.viewerCame();
      this.#viewers += 1;
      atEnd(() => {
        generation?.viewerLeft();
        this.#viewers -= 1;
        if (this.#viewers === 0) this.#allLeft();
      });
      return batches;
    });
  }
}

/** Finds or makes the log that a view is to read. */
type Attach = (cursor: Cursor | undefined) => Promise<StreamLog>;
/** Opens a view's log. What it takes for that is given back at the view's end, which comes with the reader's. */
type OpenLog = (atEnd: (release: () => void) => void, ended: () => void) => Promise<LogReader>;

/**
 * One viewer: attaches when it is first asked for something, and is no more than the log's own reader from then on. What it
 * holds is given back when the log has ended, the signal has aborted, or whoever iterates leaves.
 */
class View implements LogView {
  readonly #signal: AbortSignal;
  readonly #open: OpenLog;
  readonly #releases: (() => void)[] = [];
  #reader: LogReader | undefined;
  #over = false;

  constructor(signal: AbortSignal, open: OpenLog) {
    this.#signal = signal;
    this.#open = open;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<LogBatch, undefined>> {
    const reader = this.#reader ?? (await this.#attach());
    return reader ? reader.next() : { done: true, value: undefined };
  }

  async pipe(sink: Sink<LogBatch>): Promise<void> {
    const reader = this.#reader ?? (await this.#attach());
    await reader?.pipe(sink);
  }

  async return(): Promise<IteratorResult<LogBatch, undefined>> {
    this.#over = true;
    if (this.#reader) return this.#reader.return();
    this.#end();
    return { done: true, value: undefined };
  }

  /** Undefined if it was over before it began. */
  async #attach(): Promise<LogReader | undefined> {
    if (this.#over || this.#signal.aborted) {
      this.#end();
      return undefined;
    }
    try {
      this.#reader = await this.#open(
        (release) => this.#releases.push(release),
        () => this.#end(),
      );
    } catch (error) {
      this.#end();
      throw error;
    }
    // Whoever iterates may have left while it was opened.
    if (this.#over) await this.#reader.return();
    return this.#reader;
  }

  #end(): void {
    this.#over = true;
    for (const release of this.#releases.splice(0)) release();
  }
}

function summarize(log: StreamLog, { state, lastOffset, terminal }: LogStatus): GenerationSummary {
  const { generationId, config, startedAt } = log.record;
  return {
    generationId,
    config,
    state,
    lastEventId: formatEventId(generationId, lastOffset),
    startedAt,
    ...(terminal ? { terminal } : {}),
  };
}

interface Cursor {
  readonly generationId: string;
  readonly offset: number;
}

/** @throws LlmError `invalid_input` for an event id that isn't one, or that is another generation's. */
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

/** A generationId has no blank, so no two keys share this form. */
function mapKey({ caller, generationId }: GenerationKey): string {
  return `${generationId} ${caller}`;
}
