/**
 * The stream log: the append-only record of a generation's events. Events wait here for slow viewers; beside it, each viewer has
 * only a bounded batch and the buffer of its socket. The service knows its logs by these interfaces alone, which memory.ts and
 * redis/ implement.
 *
 * An event's offset is its place in the log, counted from 0, where `start` stands. A log has at most one terminal event,
 * and nothing follows it.
 */
import { LlmError } from '../errors.ts';
import type { Sink } from '../flow/sink.ts';
import type { CallAnswer, GenerationState, LlmEvent, StartEvent, TerminalEvent } from '../protocol.ts';
import type { LogBatch } from './logged-event.ts';

export { onceForBatch, type LogBatch } from './logged-event.ts';

/** Generations are owned: the same id under another caller is another generation. */
export interface GenerationKey {
  /** The caller's name. */
  readonly caller: string;
  readonly generationId: string;
}

/** What is fixed when a log is opened. */
export interface GenerationRecord extends GenerationKey {
  readonly config: string;
  /** SHA-256 in hex of config, messages and variables. A second request with this id is the same one if its hash is equal. */
  readonly requestHash: string;
  /** ISO 8601. */
  readonly startedAt: string;
  /** The caller's label for it, if the first request gave one. */
  readonly thread?: string | undefined;
}

/** The state of a log at one moment. */
export interface LogStatus {
  readonly state: GenerationState;
  readonly lastOffset: number;
  /** Undefined while the generation runs. */
  readonly terminal: TerminalEvent | undefined;
}

/** Called and awaited before an answer to a request is made, with the bytes that it will take in memory. Throws to refuse it. */
export type TakeRoom = (bytes: number) => Promise<void> | undefined;

/** What a producer has appended. */
export interface Produced {
  /** The text of all blocks, joined. */
  readonly text: string;
  /** From `start` on, adjacent text of a block merged. */
  readonly events: readonly LlmEvent[];
}

/**
 * Selects some of a caller's logs, newest first: at most `limit`, only those of `thread` if that is given, and of these only older
 * ones than `before` if that is given.
 */
export interface LogPage {
  readonly limit: number;
  /** A generationId. */
  readonly before?: string | undefined;
  readonly thread?: string | undefined;
}

/** The callbacks by which a log reaches the producer of its generation. None may throw. */
export interface Producer {
  /**
   * Stops the generation. The log calls it where another instance was asked to cancel, and where another instance has ended
   * the generation, or the log can't be written any more. The next `append` rejects in those two cases.
   */
  cancel(): void;
  /** Another instance has its first viewer of this generation. */
  viewerCame(): void;
  /** The last viewer of this generation has left another instance. */
  viewerLeft(): void;
  /**
   * Takes a client's answers to calls, and settles with how many. Rejects with the LlmError by which they are refused. Absent
   * where the generation has no tools.
   */
  resolve?(answers: readonly CallAnswer[]): Promise<number>;
}

/** The log of one generation. */
export interface StreamLog {
  readonly record: GenerationRecord;

  status(): Promise<LogStatus>;

  /**
   * Adds events. Only the one producer may call it, and awaits the promise, if one is returned, before the next call.
   *
   * Without a promise the log has accepted the events in their order: viewers get them soon, or a later call rejects. A
   * promise is back pressure, and settles when there is room again. If the last event is the terminal one, the log is closed
   * in the same step, and a promise settles only when the log holds that event for good.
   *
   * Rejects with the LlmError `log_limit` if the log would outgrow its bound, and adds nothing of the batch then. A terminal
   * event on its own always fits. Rejects with `producer_lost` if another instance has ended the generation: `status` has the
   * end, and no more may be appended.
   */
  append(events: readonly LlmEvent[]): Promise<void> | undefined;

  /**
   * Follows the log: gives all events after the one at offset `after` (-1 for all), and each later one as it is added, until
   * the terminal event was given or the signal aborts. A batch holds the events that are there when it is taken, up to a
   * bound in bytes. Whoever stops earlier calls `return`.
   *
   * @param onClose Called once, when the reader is closed: by the `next` that says so, by the end of `pipe`, or by `return`.
   * Rejects with the LlmError `invalid_input` if `after` lies beyond the log's end.
   */
  read(after: number, signal: AbortSignal, onClose?: () => void): Promise<LogReader>;

  /**
   * All text so far, joined over its blocks, with the status that belongs to it.
   *
   * @param room Asked once, before the text is put together. What it throws is passed on. Without it nothing is asked.
   */
  snapshot(room?: TakeRoom): Promise<LogStatus & { readonly text: string }>;

  /** All that was appended, also what can't be read yet. For the producer only. */
  produced(): Produced;

  /**
   * Settles when the log holds everything that was appended for good; undefined where it does already. For the producer only,
   * which appends nothing meanwhile. Rejects as `append` does.
   */
  recorded(): Promise<void> | undefined;

  /**
   * Passes a client's answers to calls on to the producer of the generation, which must be running. Settles and rejects as
   * `Producer.resolve` does.
   */
  resolve(answers: readonly CallAnswer[]): Promise<number>;

  /** Asks whoever produces the generation to stop it, and settles with the terminal event once the log has it. */
  cancel(): Promise<TerminalEvent>;

  /**
   * Asks which other instances have viewers, and calls the producer's `viewerCame` and `viewerLeft` for the differences: a
   * message about a viewer may have been lost. Rejects where the answer can't be had. For the producer only.
   */
  recountViewers(): Promise<void>;
}

/** A cursor in a log. One call of `next` at a time, or one of `pipe`. */
export interface LogReader extends AsyncIterator<LogBatch, undefined> {
  /** Whether it was closed although the log goes on: its viewer can follow the log on another instance. */
  readonly moved: boolean;

  return(): Promise<IteratorResult<LogBatch, undefined>>;

  /**
   * Iterates to the end, and hands each batch to the sink: in the very call that adds it to the log, if the sink is ready.
   * Rejects with what the sink throws; whoever called `append` doesn't see that.
   */
  pipe(sink: Sink<LogBatch>): Promise<void>;
}

/** Keeps the logs of all generations, each for a time after its end. */
export interface StreamLogs extends AsyncDisposable {
  /** Whether logs can be opened and read now. */
  readonly reachable: boolean;

  /**
   * Makes the log with `start` as its first event, or returns the log that this key has already: one atomic step.
   *
   * @param producer Called by the log that is made. Not used where the log exists.
   * @throws LlmError `generation_not_found` if the id is spent (its log is gone) or barred, `rate_limited` if the caller's
   *   running logs fill the room that a caller may have, `at_capacity` if those of all callers fill the store, or if the
   *   store is out of reach.
   */
  open(
    record: GenerationRecord,
    start: StartEvent,
    producer: Producer,
  ): Promise<{ readonly log: StreamLog; readonly created: boolean }>;

  find(key: GenerationKey): Promise<StreamLog | undefined>;

  /**
   * The caller's logs, or those of one thread of the caller's, newest first.
   *
   * @throws LlmError `generation_not_found` if none of them has the id in `before`
   */
  list(caller: string, page: LogPage): Promise<readonly StreamLog[]>;

  /**
   * Makes an id that was never started unusable for a time, so that a cancel which overtook its start still holds.
   * Returns the log, and bars nothing, if there is one: one atomic step.
   *
   * @throws LlmError `rate_limited` where the caller has as many ids barred as it may.
   */
  bar(key: GenerationKey, durationMs: number): Promise<StreamLog | undefined>;

  /** Closes as moved the readers of all logs that another instance produces. Does nothing where no other instance has the logs. */
  moveReaders(): void;

  /**
   * Stops waiting for a store that is out of reach: what waits to be opened is refused as `at_capacity`, and appends that wait
   * reject with `producer_lost`. Called when the process has to end, and does nothing where the logs are in this process.
   */
  giveUp(): void;
}

/** What answers are refused with whose generation has ended. */
export function callsAnswered(answers: readonly CallAnswer[]): LlmError {
  const issues = answers.map((_, at) => ({ path: `results[${at}].id`, message: 'its generation has ended' }));
  return new LlmError('conflict', 'The generation has ended', { issues });
}

/** Has the producer take answers. Without tools no call ever waits. */
export async function resolveBy(producer: Producer, answers: readonly CallAnswer[]): Promise<number> {
  if (producer.resolve) return producer.resolve(answers);
  throw LlmError.invalidInput(
    answers.map((_, at) => ({
      path: `results[${at}].id`,
      message: 'expected the id of a call; the config has no tools',
    })),
  );
}

/** One message whether the generation never was, is another caller's or is gone, so that nobody can tell these apart. */
export function generationNotFound(): LlmError {
  return new LlmError('generation_not_found', 'No such generation, or it is no longer kept');
}

/** Follows a log to its end, and returns the terminal event. */
export async function readToEnd(log: StreamLog): Promise<TerminalEvent> {
  const { lastOffset, terminal } = await log.status();
  if (terminal) return terminal;
  const reader = await log.read(lastOffset, new AbortController().signal);
  for (let next = await reader.next(); !next.done; next = await reader.next()) {
    const last = next.value.at(-1)!;
    if (!last.terminal) continue;
    await reader.return();
    return last.copy() as TerminalEvent;
  }
  throw new LlmError('at_capacity', 'The stream log is out of reach; try again shortly', { retryAfterMs: 1_000 });
}

/** A promise that rejects, for a function that may return none: what it throws must reach its caller as a rejection. */
export async function rejection(error: unknown): Promise<never> {
  throw error;
}
