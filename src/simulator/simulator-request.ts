/**
 * What a test sees of a request that reached the simulator, and the methods with which it can answer one by hand. Types only:
 * exchange.ts implements them.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { ApiError, MessagesBody } from './validation.ts';
import type { Outcome } from './wire.ts';

/** A delta of a content block: `text_delta`, `thinking_delta`, `input_json_delta`, or any other. */
export interface Delta {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A content block as `content_block_start` shows it. */
export interface Block {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** What ends a message beside its stop reason. */
export interface MessageEnd {
  readonly stopSequence?: string | undefined;
  readonly stopDetails?: unknown;
  /** Laid over the usage that `message_delta` would tell, field by field. */
  readonly usage?: Readonly<Record<string, unknown>> | undefined;
  /** Whether zeros stand in place of what `message_start` has told, as some gateways have it. A client holds on to that. */
  readonly zeros?: boolean;
}

/**
 * A request that reached the simulator: what it asked, what became of it, and, where its answer is `manual`, the
 * methods that give it. Each method first sends what must stand before it (`text` opens message and block), so a
 * test names only what it is about. Once the exchange is over they all do nothing.
 */
export interface SimulatorRequest {
  /** The `request-id` of its answer. */
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The parsed body. Its type holds for a request that was answered; one that was refused may have sent anything. */
  readonly body: MessagesBody;
  /** SHA-256 of the raw body, in hex. */
  readonly bodySha256: string;
  /** SHA-256 of `JSON.stringify(body.messages)`, in hex. */
  readonly messagesSha256: string;

  /** Output tokens sent so far, by `countTokens` over each block's text, thinking or tool input. Raw bytes count none. */
  readonly tokensSent: number;
  /** Bytes of the answer's body sent so far. */
  readonly bytesSent: number;
  /** The usage told so far, as a client would hold it; undefined before `message_start`. */
  readonly usage: Readonly<Record<string, unknown>> | undefined;
  /** Settles when the answer has ended or its connection was lost, and never rejects. */
  readonly outcome: Promise<Outcome>;
  /** `performance.now()` when the outcome was settled. */
  readonly closedAt: number | undefined;

  /** Headers and `message_start`. */
  start(): void;
  /** Opens a content block, a text block by default, and returns its index. One that is open is ended first. */
  startBlock(block?: Block): number;
  /** Sends text; settles when it was handed to the operating system. */
  text(text: string): Promise<void>;
  /** Sends a delta of any kind; settles likewise. */
  delta(delta: Delta): Promise<void>;
  endBlock(): void;
  /** Ends the message as it should end, and the response with it. `end_turn` by default. */
  finish(stopReason?: string, end?: MessageEnd): void;
  /** Sends an event of any name with any data (a string goes as it is); settles when it was handed over. */
  event(name: string, data: unknown): Promise<void>;
  /** Sends bytes as they are; settles when they were handed over. */
  write(raw: string | Uint8Array): Promise<void>;
  /** Answers with an HTTP error instead of a stream. */
  refuse(error: ApiError, headers?: OutgoingHttpHeaders): void;
  /** Ends the response, wherever the message stands. */
  end(): void;
  /** Cuts the connection, wherever the message stands. */
  destroy(): void;
}
