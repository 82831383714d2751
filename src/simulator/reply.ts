/**
 * What the simulator can be told to answer, and the one place where an answer becomes bytes.
 */
import { playFault, type FaultReply } from './faults.ts';
import { streamMessage, type BlocksReply, type Deltas, type Stage } from './streaming.ts';

/** One text block: shorthand for `blocks`. */
export interface TextReply extends Omit<BlocksReply, 'kind' | 'blocks'> {
  readonly kind: 'text';
  readonly text: Deltas;
}

/** Bytes as they are, such as a recorded stream. */
export interface RawReply {
  readonly kind: 'raw';
  readonly bytes: Uint8Array | string;
  /** Each write carries so many; all in one write if absent. */
  readonly chunkBytes?: number;
  /** What follows the last byte: the end of the response (the default), a cut connection, or nothing at all. */
  readonly end?: 'close' | 'destroy' | 'hold';
  /** 200 if absent. */
  readonly status?: number;
  /** Laid over those of an event stream. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The simulator leaves the request to the test, which drives it by the methods of `SimulatorRequest`. */
export interface ManualReply {
  readonly kind: 'manual';
}

export type Reply = TextReply | BlocksReply | FaultReply | RawReply | ManualReply;

/** Plays an answer; settles when there is nothing left to do for it. */
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
