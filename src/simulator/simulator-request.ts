/**
 * A request as a test sees it, with the methods by which the test can reply to it. Types only: exchange.ts implements
 * them.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { PrefixPart } from './past-turns.ts';
import type { ApiError, MessagesBody } from './validation.ts';
import type { Outcome } from './wire.ts';

/** A delta of a content block: `text_delta`, `thinking_delta`, `input_json_delta`, or any other. */
export interface Delta {
  /** The delta's kind. */
  readonly type: string;
  /** The delta's other fields. */
  readonly [field: string]: unknown;
}

/** The content block in a `content_block_start`. */
export interface Block {
  /** The block's kind. */
  readonly type: string;
  /** The block's other fields. */
  readonly [field: string]: unknown;
}

/** The parts of a message's end besides its stop reason. */
export interface MessageEnd {
  /** `stop_sequence`; null by default. */
  readonly stopSequence?: string | undefined;
  /** `stop_details`; null by default. */
  readonly stopDetails?: unknown;
  /** Replaces fields of the usage in `message_delta`. */
  readonly usage?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Whether `message_delta` has 0 for every number that `message_start` has sent, as with some gateways. A good client
   * keeps the earlier numbers. False by default.
   */
  readonly zeros?: boolean;
}

/**
 * A request that reached the simulator: its contents, how its response went, and methods by which a test replies to it
 * where the scripted reply is `manual`. Each method first sends everything that must precede its own event (`text`
 * begins the message and opens a block), so a test needs only the calls that it is about. Once the response is over,
 * the methods do nothing.
 */
export interface SimulatorRequest {
  /** The `request-id` of the response. */
  readonly id: string;
  /** HTTP method, such as `POST`. */
  readonly method: string;
  /** The URL's path, without the query. */
  readonly path: string;
  /** HTTP headers, by name in lower case. */
  readonly headers: IncomingHttpHeaders;
  /** The parsed body. It has this type only if the request was valid; the body of a refused request can be anything. */
  readonly body: MessagesBody;
  /** SHA-256 of the raw body, in hex. */
  readonly bodySha256: string;
  /** SHA-256 of `JSON.stringify(body.messages)`, in hex. */
  readonly messagesSha256: string;

  /**
   * The `id` of the request whose answer this one continues, with the results of tools or after `pause_turn`; undefined
   * where it continues none that the simulator remembers.
   */
  readonly continues: string | undefined;
  /**
   * The first part of that request, or of its answer, that is not the same in this request: where there is one, the API's
   * cache holds nothing of what follows. Marks of what may be cached don't count. undefined where all is as it was.
   */
  readonly changedPrefix: PrefixPart | undefined;

  /**
   * Output tokens sent so far: `countTokens` of each block's text, thinking or tool input. Raw bytes aren't counted.
   */
  readonly tokensSent: number;
  /** Bytes of the response's body sent so far. */
  readonly bytesSent: number;
  /** The usage sent so far, as a client would add it up; undefined before `message_start`. */
  readonly usage: Readonly<Record<string, unknown>> | undefined;
  /** Settles when the response is over, sent or cut off. Never rejects. */
  readonly outcome: Promise<Outcome>;
  /** When `outcome` settled, on the clock of `performance.now()`; undefined before that. */
  readonly closedAt: number | undefined;

  /** Sends headers and `message_start`. */
  start(): void;
  /** Opens a content block, a text block by default, and returns its index. Closes the block that is open. */
  startBlock(block?: Block): number;
  /** Sends a `text_delta`. Settles when the operating system has it. */
  text(text: string): Promise<void>;
  /** Sends a delta of any kind. Settles when the operating system has it. */
  delta(delta: Delta): Promise<void>;
  /** Closes the open block. */
  endBlock(): void;
  /**
   * Ends the message with `message_delta` and `message_stop`, and then the response. `stopReason` is `end_turn` by
   * default.
   */
  finish(stopReason?: string, end?: MessageEnd): void;
  /**
   * Sends an event with any name and data. A string is sent unchanged, other data as JSON. Settles when the operating
   * system has it.
   */
  event(name: string, data: unknown): Promise<void>;
  /** Sends bytes unchanged. Settles when the operating system has them. */
  write(raw: string | Uint8Array): Promise<void>;
  /** Responds with an HTTP error instead of a stream. */
  refuse(error: ApiError, headers?: OutgoingHttpHeaders): void;
  /** Ends the response, also in mid-message. */
  end(): void;
  /** Cuts the connection, also in mid-message. */
  destroy(): void;
}
