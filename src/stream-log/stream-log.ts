/**
 * The stream log: the append-only record of a generation's events, and the only buffer between upstream and viewers.
 * These interfaces are all that the rest of the service knows of it; memory.ts and redis.ts implement them.
 *
 * An event's offset is its place in the log, counted from 0, where `start` stands. At most one terminal event is
 * ever in a log, and nothing follows it.
 */
import { LlmError } from '../errors.ts';
import type { GenerationState, LlmEvent, StartEvent, TerminalEvent } from '../protocol.ts';
import type { Sink } from '../flow/sink.ts';

/** Generations are owned: the same id under another caller is another generation. */
export interface GenerationKey {
  readonly caller: string;
  readonly generationId: string;
}

/** What is fixed when a log is opened. */
export interface GenerationRecord extends GenerationKey {
  readonly config: string;
  /** SHA-256 of config, messages and variables: what makes a second request with this id the same one. */
  readonly requestHash: string;
  readonly startedAt: string;
}

/** Some events of a log, as a viewer takes them: in order, adjacent text of one block merged under the last one's id. */
export type LogBatch = readonly LoggedEvent[];

/**
 * An event under its id, made of the event, of its JSON or of both, whatever the log has. Viewers that stand at the same
 * place share it, so the other form is made once at most, however many there are.
 */
export class LoggedEvent {
  /** The event id: `<generationId>:<offset>`. */
  readonly id: string;
  /** Whether it is the terminal one, which nothing follows. */
  readonly terminal: boolean;
  #event: LlmEvent | undefined;
  #json: string | undefined;

  constructor(id: string, terminal: boolean, event: LlmEvent | undefined, json: string | undefined) {
    this.id = id;
    this.terminal = terminal;
    this.#event = event;
    this.#json = json;
  }

  /** Shared by all who look: not to be changed, nor given away. */
  get event(): LlmEvent {
    return (this.#event ??= JSON.parse(this.#json!) as LlmEvent);
  }

  /** The event as an object of the asker's own. */
  copy(): LlmEvent {
    return JSON.parse(this.json) as LlmEvent;
  }

  get json(): string {
    return (this.#json ??= jsonOf(this.#event!));
  }
}

/** JSON, as ever; text is written out, which spares it the walk over an object. */
function jsonOf(event: LlmEvent): string {
  if (event.type !== 'text' && event.type !== 'thinking') return JSON.stringify(event);
  return `{"type":"${event.type}","index":${event.index},"text":${JSON.stringify(event.text)}}`;
}

/**
 * What a door makes of a batch, made once for all viewers that are given the same one after the other. What was made before
 * is forgotten, so it keeps nothing alive but the last.
 *
 * @param make `variant` is what else it hangs on.
 */
export function onceForBatch<T>(
  make: (batch: LogBatch, variant: string) => T,
): (batch: LogBatch, variant?: string) => T {
  let last: { readonly batch: LogBatch; readonly variant: string; readonly made: T } | undefined;
  return (batch, variant = '') => {
    if (last?.batch !== batch || last.variant !== variant) last = { batch, variant, made: make(batch, variant) };
    return last.made;
  };
}

/** What stands in a log at one moment. */
export interface LogStatus {
  readonly state: GenerationState;
  readonly lastOffset: number;
  readonly terminal: TerminalEvent | undefined;
  /** Bytes that it takes; its text is no longer. */
  readonly bytes: number;
}

/** Which of a caller's logs are listed: at most so many, after the given one, newest first. */
export interface LogPage {
  readonly limit: number;
  readonly before?: string | undefined;
}

/** The log of one generation. */
export interface StreamLog {
  readonly record: GenerationRecord;

  status(): Promise<LogStatus>;

  /**
   * Adds events. They are safe and readable when it settles, or on return if it gives no promise. To be called by the one
   * producer only, and awaited before the next call. A terminal event as the last of the batch closes the log in the same
   * step.
   *
   * Rejects with the LlmError `log_limit` if the log would outgrow its bound; nothing of the batch is added then. A
   * terminal event on its own always fits.
   */
  append(events: readonly LlmEvent[]): Promise<void> | undefined;

  /**
   * Everything after `after` (-1 for all), then what comes, until the terminal event has been read or the signal
   * aborts; both end the iteration quietly. Each batch holds what is there at that turn, up to a bound in bytes. Whoever
   * stops earlier calls `return`. One `next` at a time.
   *
   * @param left Called once the iteration is over, however it ended: at the `next` that tells so, or at `return`.
   * @throws LlmError `invalid_input` if `after` lies beyond the log's end.
   */
  read(after: number, signal: AbortSignal, left?: () => void): LogReader;

  /** All text so far, joined over its blocks, with the status that belongs to it. */
  snapshot(): Promise<LogStatus & { readonly text: string }>;
}

/** A cursor in a log. */
export interface LogReader extends AsyncIterator<LogBatch, undefined> {
  return(): Promise<IteratorResult<LogBatch, undefined>>;

  /**
   * As to iterate to the end, handing each batch to the sink: in the very call that adds it to the log, if the sink is
   * ready. Rejects with what the sink throws; whoever called `append` doesn't hear of it.
   */
  pipe(sink: Sink<LogBatch>): Promise<void>;
}

/** Keeps the logs of all generations, each for a time after its end. */
export interface StreamLogs extends AsyncDisposable {
  /**
   * Makes the log with `start` as its first event, or returns the one that is there: one atomic step.
   *
   * @throws LlmError `generation_not_found` if the id is spent (ended and gone, or barred), `rate_limited` if the caller's
   *   running logs fill the room that a caller may have, `at_capacity` if those of all callers fill the store.
   */
  open(record: GenerationRecord, start: StartEvent): Promise<{ readonly log: StreamLog; readonly created: boolean }>;

  find(key: GenerationKey): Promise<StreamLog | undefined>;

  /**
   * The caller's logs, newest first.
   *
   * @throws LlmError `generation_not_found` if there is none of the id in `before`
   */
  list(caller: string, page: LogPage): Promise<readonly StreamLog[]>;

  /**
   * Makes an id that was never started unusable for a time, so that a cancel which overtook its start still holds.
   * Returns the log, and bars nothing, if there is one: one atomic step.
   *
   * @throws LlmError `rate_limited` where the caller has as many ids barred as it may.
   */
  bar(key: GenerationKey, durationMs: number): Promise<StreamLog | undefined>;
}

/** One message for never was, not yours and gone, so that nobody can tell them apart. */
export function generationNotFound(): LlmError {
  return new LlmError('generation_not_found', 'No such generation, or it is no longer kept');
}
