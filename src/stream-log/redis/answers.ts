/**
 * Answers of clients to calls, where they reach an instance that doesn't run the generation. It passes them on to the one that
 * does, and waits for the reply. Either message may be lost, so it sends the answers again under the same number, and the owner
 * takes those of one number once.
 */
import { randomBytes } from 'node:crypto';
import { LlmError } from '../../errors.ts';
import { within } from '../../flow/within.ts';
import type { CallAnswer, ErrorData } from '../../protocol.ts';
import { callsAnswered } from '../stream-log.ts';
import { outOfReach } from './retry.ts';
import type { Shard } from './shard.ts';

/** What became of answers. */
export type Reply = { readonly resolved: number } | { readonly error: ErrorData };

/** A message with answers, but for the generation: who asks, the number, and the answers. */
export type PassedOn = readonly [instance: string, number: string, answers: readonly CallAnswer[]];

/** Replies that an owner remembers of each generation. Whoever asks again does so within seconds. */
const repliesMax = 100;

/** What the owner of a generation has replied. */
export class TakenAnswers {
  readonly #take: (answers: readonly CallAnswer[]) => Promise<number>;
  readonly #replies = new Map<string, Promise<Reply>>();

  constructor(take: (answers: readonly CallAnswer[]) => Promise<number>) {
    this.#take = take;
  }

  /** Takes answers, and returns the reply; the reply from before where it has one for this number. Never rejects. */
  replyTo(number: string, answers: readonly CallAnswer[]): Promise<Reply> {
    const before = this.#replies.get(number);
    if (before) return before;
    const reply = this.#take(answers).then(
      (resolved) => ({ resolved }),
      (error: unknown) => ({ error: LlmError.from(error).data }),
    );
    const oldest = this.#replies.keys().next();
    if (this.#replies.size >= repliesMax && !oldest.done) this.#replies.delete(oldest.value);
    this.#replies.set(number, reply);
    return reply;
  }
}

/**
 * Has the owner of a generation take answers, and settles with how many.
 *
 * @param isRunning Whether the generation runs, as Redis has it.
 * @throws LlmError as the owner does; `conflict` where the generation has ended; `at_capacity` where no reply comes.
 */
export async function passOn(
  shard: Shard,
  k: string,
  owner: string,
  answers: readonly CallAnswer[],
  isRunning: () => Promise<boolean>,
): Promise<number> {
  const { timing, instance, replies } = shard;
  const number = randomBytes(9).toString('base64url');
  const replied = new Promise<Reply>((resolve) => void replies.set(number, resolve));
  const untilMs = performance.now() + Math.max(timing.patienceMs, 2 * timing.beatMs);
  try {
    while (performance.now() < untilMs) {
      shard.send(owner, [k, -3, instance, number, answers]);
      const reply = await within(timing.beatMs, replied);
      if (reply) return resolvedIn(reply);
      if (!(await isRunning())) throw callsAnswered(answers);
    }
    throw outOfReach(undefined);
  } finally {
    replies.delete(number);
  }
}

function resolvedIn(reply: Reply): number {
  if ('resolved' in reply) return reply.resolved;
  const { code, message, issues, retryAfterMs } = reply.error;
  throw new LlmError(code, message, { issues, retryAfterMs });
}
