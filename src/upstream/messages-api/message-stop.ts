/** What a message says of itself beside its content and its usage, and about how much memory that takes. */
import { bytesOf } from '../answer-room.ts';

type Fields = Readonly<Record<string, unknown>>;

export class MessageStop {
  #id: string | undefined;
  #model: string | undefined;
  #stopReason: string | null = null;
  #stopSequence: string | undefined;
  #stopDetails: unknown;
  #container: unknown;
  #contextManagement: unknown;
  #heldBytes = 0;
  #replacedBytes = 0;

  /** Upstream's id of the message. */
  get id(): string | undefined {
    return this.#id;
  }

  /** The model that upstream says it used. */
  get model(): string | undefined {
    return this.#model;
  }

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

  /** The container in which upstream ran code; undefined where there was none. */
  get container(): unknown {
    return this.#container;
  }

  /** What upstream took out of the conversation; undefined where it says nothing of that. */
  get contextManagement(): unknown {
    return this.#contextManagement;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** What earlier events brought and later ones replaced. */
  get replacedBytes(): number {
    return this.#replacedBytes;
  }

  /** Reads the `message` of a `message_start`. */
  start(message: Fields): void {
    if (typeof message['id'] === 'string') this.#id = message['id'];
    if (typeof message['model'] === 'string') this.#model = message['model'];
    this.#update(message['container'], message['context_management']);
  }

  /** Reads the `delta` of a `message_delta`, and the `context_management` beside it. */
  update(delta: Fields, contextManagement: unknown): void {
    if (typeof delta['stop_reason'] === 'string') this.#stopReason = delta['stop_reason'];
    if (typeof delta['stop_sequence'] === 'string') this.#stopSequence = delta['stop_sequence'];
    this.#stopDetails = delta['stop_details'] ?? this.#stopDetails;
    this.#update(delta['container'], contextManagement);
  }

  #update(container: unknown, contextManagement: unknown): void {
    this.#container = container ?? this.#container;
    this.#contextManagement = contextManagement ?? this.#contextManagement;
    this.#replacedBytes += this.#heldBytes;
    this.#heldBytes = [
      this.#id,
      this.#model,
      this.#stopReason,
      this.#stopSequence,
      this.#stopDetails,
      this.#container,
      this.#contextManagement,
    ].reduce<number>((sum, value) => sum + bytesOf(value), 0);
  }
}
