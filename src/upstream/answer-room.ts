/**
 * Counts the memory that one answer takes outside its log: open blocks, lines whose end hasn't arrived, upstream's
 * usage. It has the same bound as the log, and is part of the bytes held for the caller.
 */
import { LlmError } from '../errors.ts';
import type { Hold } from '../access/held-bytes.ts';

/**
 * The caller's account changes in steps of this many bytes. An ordinary answer never reaches the first step, so it
 * costs nothing.
 */
const stepBytes = 8 * 1_024;
/** About how many bytes V8 takes for an empty object, list or text, and for each place in an object or list. */
const valueBytes = 48;
const placeBytes = 16;

export interface AnswerRoomOptions {
  /** The most bytes that one answer may hold. */
  readonly bytesMax: number;
  /** The caller's account. */
  readonly hold: Hold;
}

export class AnswerRoom {
  readonly #options: AnswerRoomOptions | undefined;
  #steps = 0;
  #keptBytes = 0;

  /** Without options there is no bound and no account. */
  constructor(options?: AnswerRoomOptions) {
    this.#options = options;
  }

  /**
   * Counts bytes that stay held until the answer ends: what earlier steps have said, for the requests of later ones.
   *
   * @throws LlmError `log_limit` as `resize` does.
   */
  keep(bytes: number): void {
    this.#keptBytes += bytes;
    this.resize(0, 0);
  }

  /**
   * Sets how many bytes the answer holds from now on, beside those that are kept.
   *
   * @param replacedBytes All bytes that upstream sent and that newer ones have replaced. They aren't held any more but
   *   count against the answer's bound, so that upstream can't make an answer endless by sending the same field again
   *   and again.
   * @throws LlmError `log_limit` where the answer or its caller has no room for them.
   */
  resize(heldBytes: number, replacedBytes: number): void {
    if (!this.#options) return;
    const { bytesMax, hold } = this.#options;
    const bytes = heldBytes + this.#keptBytes;
    if (bytes + replacedBytes > bytesMax) throw tooLarge();
    const steps = Math.floor(bytes / stepBytes);
    if (steps === this.#steps) return;
    try {
      hold.resize(steps * stepBytes);
    } catch (cause) {
      throw tooLarge(cause);
    }
    this.#steps = steps;
  }
}

/** About how many bytes a parsed JSON value takes in memory. Small objects take several times as much as their JSON. */
export function bytesOf(value: unknown): number {
  if (typeof value === 'string') return valueBytes + value.length;
  if (typeof value !== 'object' || value === null) return 0;
  let bytes = valueBytes;
  if (Array.isArray(value)) {
    for (const each of value) bytes += placeBytes + bytesOf(each);
  } else {
    for (const [name, each] of Object.entries(value)) bytes += 2 * placeBytes + name.length + bytesOf(each);
  }
  return bytes;
}

function tooLarge(cause?: unknown): LlmError {
  return new LlmError('log_limit', 'The answer is larger than the service allows', { cause });
}
