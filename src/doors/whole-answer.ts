/** Reads a generation to its end for a response that is sent whole. Knows HTTP by the connection that may close meanwhile, and no shape. */
import type { FastifyReply } from 'fastify';
import type { HeldBytes, Hold } from '../access/held-bytes.ts';
import type { Caller } from '../caller.ts';
import { movedAway, type LogView } from '../generations/view.ts';
import { isTerminal, type LlmEvent, type TerminalEvent } from '../protocol.ts';

/** Runs `make` with a hold on the caller's account, which lasts until the response that it makes has left, or its client has. */
export async function heldUntilSent<T>(
  held: HeldBytes,
  { name }: Caller,
  { raw }: FastifyReply,
  make: (hold: Hold) => Promise<T>,
): Promise<T> {
  const hold = held.take(name, 0);
  const release = () => hold[Symbol.dispose]();
  raw.once('close', release);
  try {
    return await make(hold);
  } finally {
    // It may have closed before anybody listened for that.
    if (raw.destroyed) release();
  }
}

/** What is made of a generation's events, and how much of it there is. */
export interface AnswerFold {
  push(event: LlmEvent): unknown;
  /** Characters that it holds. */
  readonly chars: number;
}

/** The characters, and the JSON that is made of them. */
const heldPerChar = 2;

/** Counts what a fold holds on the caller's account. */
export function holdFold(hold: Hold, { chars }: Pick<AnswerFold, 'chars'>): void {
  hold.resize(heldPerChar * chars);
}

/**
 * Hands every event of a view to the fold, to the terminal one, which is returned; undefined if the client has left.
 *
 * @param viewUntil Opens the view. The signal aborts when the client leaves.
 * @throws What the view throws, what the hold throws, and `shutting_down` for a view that goes on at another instance.
 */
export async function readAnswer(
  { raw }: FastifyReply,
  hold: Hold,
  fold: AnswerFold,
  viewUntil: (signal: AbortSignal) => LogView,
): Promise<TerminalEvent | undefined> {
  const left = new AbortController();
  const leave = () => left.abort('the client has left');
  raw.once('close', leave);
  if (raw.destroyed) leave();
  const view = viewUntil(left.signal);
  let terminal: TerminalEvent | undefined;
  try {
    await view.pipe((batch) => {
      for (const { event } of batch) {
        fold.push(event);
        if (isTerminal(event)) terminal = event;
      }
      holdFold(hold, fold);
      return undefined;
    });
  } finally {
    raw.off('close', leave);
    await view.return();
  }
  if (!terminal && !left.signal.aborted) throw movedAway();
  return terminal;
}
