/**
 * What the simulator can be told to answer, and the one place where an answer becomes bytes.
 */
import { playFault, type FaultAnswer } from './faults.ts';
import { streamMessage, type BlocksAnswer, type Deltas, type Stage } from './streaming.ts';

/** One text block: shorthand for `blocks`. */
export interface TextAnswer extends Omit<BlocksAnswer, 'kind' | 'blocks'> {
  readonly kind: 'text';
  readonly text: Deltas;
}

/** Bytes as they are, such as a recorded stream. */
export interface RawAnswer {
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
export interface ManualAnswer {
  readonly kind: 'manual';
}

export type Answer = TextAnswer | BlocksAnswer | FaultAnswer | RawAnswer | ManualAnswer;

/** Plays an answer; settles when there is nothing left to do for it. */
export async function playAnswer(stage: Stage, answer: Answer): Promise<void> {
  switch (answer.kind) {
    case 'text': {
      const { text, ...rest } = answer;
      return streamMessage(stage, { ...rest, kind: 'blocks', blocks: [{ type: 'text', text }] });
    }
    case 'blocks':
      return streamMessage(stage, answer);
    case 'fault':
      return playFault(stage, answer);
    case 'raw':
      return replay(stage, answer);
    case 'manual':
      return undefined;
  }
}

async function replay({ exchange }: Stage, answer: RawAnswer): Promise<void> {
  const bytes = typeof answer.bytes === 'string' ? Buffer.from(answer.bytes) : answer.bytes;
  const chunkBytes = Math.max(1, Math.min(answer.chunkBytes ?? Infinity, bytes.length));
  exchange.head(answer.status, answer.headers);
  for (let start = 0; start < bytes.length && !exchange.over; start += chunkBytes) {
    await exchange.write(bytes.subarray(start, start + chunkBytes));
  }
  if (answer.end === 'destroy') exchange.destroy();
  else if (answer.end !== 'hold') exchange.end();
}
