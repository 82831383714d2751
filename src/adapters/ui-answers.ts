/**
 * What the client has answered to calls of a message that still wait: results of its own tools, and approvals. The message of an
 * answer that waits was ended, so that the client could send these answers. The generation goes on with them; a new one would be a
 * second bill.
 */
import type { CallAnswer } from '../protocol.ts';
import type { Batches } from './ui-carry.ts';
import { isRecord, metadataOf, partsOf, type Part, type UIMessageLike } from './ui-message.ts';

/** The answers to the calls of one generation. */
export interface AnsweredCalls {
  readonly generationId: string;
  /** At least one. */
  readonly answers: readonly CallAnswer[];
  /** The calls of the message's last step, also those that still wait. The client has all chunks up to the last of them. */
  readonly shown: ReadonlySet<string>;
}

/** The part of the service that takes answers. */
export interface AnswerTaker {
  /** Both reject with an error that has the `code` of a refusal, and its `issues`. */
  resolve(generationId: string, answers: readonly CallAnswer[]): Promise<unknown>;
  isRunning(generationId: string): Promise<boolean>;
}

/** A generation that goes on. */
export interface ContinuedAnswer {
  /** Its events, from the first one on. */
  readonly batches: Batches;
  /** The calls that were answered. */
  readonly answered: ReadonlySet<string>;
  /** The calls that the client shows. */
  readonly shown: ReadonlySet<string>;
}

/** Characters of an error or a reason that the service takes. */
const reasonCharsMax = 4_000;

/** The answers in the last message of a chat; undefined where there are none, or its generation has ended. */
export function answeredCalls(messages: readonly UIMessageLike[]): AnsweredCalls | undefined {
  const last = messages.at(-1);
  if (last?.role !== 'assistant' || !isRecord(last.metadata)) return undefined;
  const { generationId, state } = last.metadata;
  if (typeof generationId !== 'string' || state !== 'running') return undefined;
  const parts = partsOf(last);
  const step = parts.slice(parts.findLastIndex(({ type }) => type === 'step-start') + 1);
  const answers = step.flatMap(answerIn);
  return answers.length > 0 ? { generationId, answers, shown: new Set(step.flatMap(shownCallIn)) } : undefined;
}

function answerIn(part: Part): CallAnswer[] {
  const { toolCallId: id, state, output, errorText } = part;
  const { waitsFor } = metadataOf(part, 'callProviderMetadata', 'llm');
  if (typeof id !== 'string') return [];
  if (waitsFor === 'approval' && state === 'approval-responded' && isRecord(part['approval'])) {
    const { approved, reason } = part['approval'];
    const words = typeof reason === 'string' ? { reason: reason.slice(0, reasonCharsMax) } : {};
    return [{ id, approved: approved === true, ...words }];
  }
  if (waitsFor !== 'result') return [];
  if (state === 'output-available') return [{ id, output: output ?? null }];
  if (state !== 'output-error') return [];
  return [{ id, error: (typeof errorText === 'string' ? errorText : 'The tool failed').slice(0, reasonCharsMax) }];
}

/** The call whose `tool_call` made a part. A call whose input was cut off has none yet, and calls of upstream's own tools never do. */
function shownCallIn(part: Part): string[] {
  const { toolCallId: id } = part;
  const isShown = metadataOf(part, 'callProviderMetadata', 'llm')['by'] !== undefined;
  return isShown && typeof id === 'string' ? [id] : [];
}

/**
 * Gives the service the answers in the last message, if there are any. Returns the generation that goes on; undefined where there is
 * none, and a new one must be asked.
 *
 * The generation is followed before it is answered. Otherwise it would have no viewer at the moment when it goes on, and might be
 * cancelled for that.
 *
 * @throws what `resolve` rejects with, such as `invalid_input` for a result that doesn't fit its tool.
 */
export async function goOn(
  service: AnswerTaker,
  messages: readonly UIMessageLike[],
  follow: (generationId: string) => Batches,
): Promise<ContinuedAnswer | undefined> {
  const given = answeredCalls(messages);
  if (!given) return undefined;
  const batches = follow(given.generationId);
  try {
    const first = await batches.next();
    if ((await takeAnswers(service, given)) || (await service.isRunning(given.generationId))) {
      const answered = new Set(given.answers.map(({ id }) => id));
      return { batches: beginningWith(first, batches), answered, shown: given.shown };
    }
  } catch (error) {
    await batches.return?.();
    if ((error as Refusal).code === 'generation_not_found') return undefined;
    throw error;
  }
  await batches.return?.();
  return undefined;
}

function beginningWith(first: Awaited<ReturnType<Batches['next']>>, batches: Batches): Batches {
  let next: typeof first | undefined = first;
  return {
    async next() {
      const taken = next ?? (await batches.next());
      next = undefined;
      return taken;
    },
    return: async () => batches.return?.() ?? { done: true, value: undefined },
  };
}

interface Refusal {
  readonly code?: unknown;
  readonly issues?: readonly { readonly path: string }[] | undefined;
}

/** Whether the service has taken any of the answers. Another client may have been first with some, which are left out of the next attempt. */
async function takeAnswers(service: AnswerTaker, { generationId, answers }: AnsweredCalls): Promise<boolean> {
  let left = answers;
  while (left.length > 0) {
    try {
      await service.resolve(generationId, left);
      return true;
    } catch (error) {
      const { code, issues = [] } = error as Refusal;
      const refused = new Set(issues.map(({ path }) => path));
      const others = left.filter((_, at) => !refused.has(`results[${at}].id`));
      if (code !== 'conflict' || others.length === left.length) throw error;
      left = others;
    }
  }
  return false;
}
