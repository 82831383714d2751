/** Why a message stopped, as its `message_delta` events say it, and about how much memory that takes. */
import { bytesOf } from '../answer-room.ts';

export class MessageStop {
  #stopReason: string | null = null;
  #stopSequence: string | undefined;
  #stopDetails: unknown;
  #heldBytes = 0;
  #replacedBytes = 0;

  /** Upstream's word; null until it sends one. */
  get stopReason(): string | null {
    return this.#stopReason;
  }

  /** The one of the request's stop sequences that ended the message; undefined where none did. */
  get stopSequence(): string | undefined {
    return this.#stopSequence;
  }

  /** Undefined where upstream sent none. */
  get stopDetails(): unknown {
    return this.#stopDetails;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** What earlier deltas brought and later ones replaced. */
  get replacedBytes(): number {
    return this.#replacedBytes;
  }

  /** Reads the `delta` of a `message_delta`. */
  update(delta: Readonly<Record<string, unknown>>): void {
    if (typeof delta['stop_reason'] === 'string') this.#stopReason = delta['stop_reason'];
    if (typeof delta['stop_sequence'] === 'string') this.#stopSequence = delta['stop_sequence'];
    this.#stopDetails = delta['stop_details'] ?? this.#stopDetails;
    this.#replacedBytes += this.#heldBytes;
    this.#heldBytes = bytesOf(this.#stopReason) + bytesOf(this.#stopSequence) + bytesOf(this.#stopDetails);
  }
}
