/** The replies that a test can script, and the function that sends one. */
import { playFault, type FaultReply } from './faults.ts';
import { streamMessage, type BlocksReply, type Deltas, type Stage } from './streaming.ts';

/** A message of one text block: a shorthand for `BlocksReply`. */
export interface TextReply extends Omit<BlocksReply, 'kind' | 'blocks'> {
  /** The kind of reply. */
  readonly kind: 'text';
  /** The block's text. */
  readonly text: Deltas;
}

/** Bytes that are sent unchanged, such as a recorded stream. */
export interface RawReply {
  /** The kind of reply. */
  readonly kind: 'raw';
  /** The response's body; a string is sent in UTF-8. */
  readonly bytes: Uint8Array | string;
  /** How many bytes each write has. By default one write has all of them. */
  readonly chunkBytes?: number;
  /**
   * What follows the last byte: `close` ends the response and is the default, `destroy` cuts the connection, `hold`
   * leaves it open.
   */
  readonly end?: 'close' | 'destroy' | 'hold';
  /** HTTP status; 200 by default. */
  readonly status?: number;
  /** Replace the headers of an event stream, name by name. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** No reply by the simulator: the test sends it by the methods of `SimulatorRequest`. */
export interface ManualReply {
  /** The kind of reply. */
  readonly kind: 'manual';
}

/** The reply to one request. */
export type Reply = TextReply | BlocksReply | FaultReply | RawReply | ManualReply;

/** Sends a reply. Settles when the simulator has nothing more to send. */
export async function playReply(stage: Stage, reply: Reply): Promise<void> {
  switch (reply.kind) {
    case 'text': {
      const { text, ...others } = reply;
      return streamMessage(stage, { ...others, kind: 'blocks', blocks: [{ type: 'text', text }] });
    }
    case 'blocks':
      return streamMessage(stage, reply);
    case 'fault':
      return playFault(stage, reply);
    case 'raw':
      return replay(stage, reply);
    case 'manual':
      return undefined;
  }
}

async function replay({ exchange }: Stage, reply: RawReply): Promise<void> {
  const bytes = typeof reply.bytes === 'string' ? Buffer.from(reply.bytes) : reply.bytes;
  const chunkBytes = Math.max(1, Math.min(reply.chunkBytes ?? Infinity, bytes.length));
  exchange.head(reply.status, reply.headers);
  for (let start = 0; start < bytes.length && !exchange.over; start += chunkBytes) {
    await exchange.write(bytes.subarray(start, start + chunkBytes));
  }
  if (reply.end === 'destroy') exchange.destroy();
  else if (reply.end !== 'hold') exchange.end();
}
