/**
 * Room in this process's memory for the logs that it writes, and for its copies of logs that other instances write: over all
 * callers, and for each of them. Whatever fills Redis is Redis's own matter.
 */
import { HeldBytes, type Hold } from '../../access/held-bytes.ts';
import { LlmError } from '../../errors.ts';

/** Bytes that a log takes beside its events, in Redis and here. */
export const logOverheadBytes = 1_024;

export interface LogRoomLimits {
  /** Bytes of all logs that the process holds. */
  readonly logsBytesMax: number;
  /** The same, of one caller. */
  readonly logsBytesPerCallerMax: number;
}

/** An account changes in steps of this many bytes, so that most events of a log change nothing. */
const stepBytes = 4 * 1_024;

export class LogRoom {
  readonly #held: HeldBytes;
  readonly #forgetEnded: () => void;

  /** @param forgetEnded Releases the logs that are held only in case Redis forgot them. Called where room is short. */
  constructor({ logsBytesMax, logsBytesPerCallerMax }: LogRoomLimits, forgetEnded: () => void) {
    this.#held = new HeldBytes({ heldBytesMax: logsBytesMax, heldBytesPerCallerMax: logsBytesPerCallerMax });
    this.#forgetEnded = forgetEnded;
  }

  /** Bytes that are held now. */
  get bytes(): number {
    return this.#held.total;
  }

  /** The account of one log, which holds nothing yet. Whoever asked disposes it. */
  place(caller: string): LogPlace {
    return new LogPlace(this.#held.take(caller, 0), this.#forgetEnded);
  }
}

export class LogPlace implements Disposable {
  readonly #hold: Hold;
  readonly #forgetEnded: () => void;
  #steps = 0;
  #disposed = false;

  constructor(hold: Hold, forgetEnded: () => void) {
    this.#hold = hold;
    this.#forgetEnded = forgetEnded;
  }

  /** Changes how many bytes the log holds. Returns why it can't, and it holds what it held before then. */
  resize(bytes: number): LlmError | undefined {
    const steps = Math.ceil(bytes / stepBytes);
    if (steps === this.#steps || this.#disposed) return undefined;
    const refusal = this.#try(steps);
    if (!refusal) return undefined;
    this.#forgetEnded();
    return this.#try(steps);
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#hold[Symbol.dispose]();
  }

  #try(steps: number): LlmError | undefined {
    try {
      this.#hold.resize(steps * stepBytes);
      this.#steps = steps;
      return undefined;
    } catch (error) {
      return LlmError.from(error);
    }
  }
}
