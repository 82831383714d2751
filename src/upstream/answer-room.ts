/**
 * The room that an answer takes while it isn't in its log yet, or never will be: blocks that are open, lines without an
 * end, upstream's usage. It keeps to the same bound as the log, and counts among what is held for the caller.
 */
import { LlmError } from '../errors.ts';
import type { Hold } from '../access/held-bytes.ts';

/** Changes are counted in steps of this many bytes, so that an ordinary answer never comes to be counted. */
const stepBytes = 8 * 1_024;
/** What V8 takes for an object, a list or a text beside what is in it, and for each of its places. */
const valueBytes = 48;
const placeBytes = 16;

export interface AnswerRoomOptions {
  /** What one answer may hold. */
  readonly bytesMax: number;
  /** Where it counts. */
  readonly hold: Hold;
}

export class AnswerRoom {
  readonly #options: AnswerRoomOptions | undefined;
  #steps = 0;

  /** Without options there is no bound. */
  constructor(options?: AnswerRoomOptions) {
    this.#options = options;
  }

  /**
   * Has that much held from now on.
   *
   * @param replacedBytes What came and is held no longer, since something newer stands in its place. It counts against the
   *   answer's bound, so that an answer can't go on for ever by saying the same again.
   * @throws LlmError `log_limit` if there is no room for it.
   */
  resize(heldBytes: number, replacedBytes: number): void {
    if (!this.#options) return;
    const { bytesMax, hold } = this.#options;
    if (heldBytes + replacedBytes > bytesMax) throw tooLarge();
    const steps = Math.floor(heldBytes / stepBytes);
    if (steps === this.#steps) return;
    try {
      hold.resize(steps * stepBytes);
    } catch (cause) {
      throw tooLarge(cause);
    }
    this.#steps = steps;
  }
}

/** About how many bytes a parsed JSON value takes in memory: many small objects take several times what is written of them. */
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
  return new LlmError('log_limit', 'The answer grew beyond what the service keeps of one', { cause });
}
