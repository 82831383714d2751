/** From the turns of a conversation to the request that asks for its last answer. Pure, and the same at every reload. */
import { textOf, type Answer } from '../stream/answer.ts';
import type { LlmRequest } from '../stream/use-llm-stream.ts';
import type { Turn } from './conversations.ts';

/**
 * @param answerOf What became of a turn before the last. One without text is left out, since the API takes no empty
 *   message; questions in a row are fine.
 */
export function requestOf(turns: readonly Turn[], answerOf: (generationId: string) => Answer): LlmRequest | undefined {
  const last = turns.at(-1);
  if (!last) return undefined;
  const messages = turns.flatMap(({ generationId, prompt }) => {
    const text = generationId === last.generationId ? '' : textOf(answerOf(generationId));
    const question = { role: 'user' as const, content: prompt };
    return text.trim() === '' ? [question] : [question, { role: 'assistant' as const, content: text }];
  });
  const { generationId, config, variables } = last;
  // The names come from `llm.configs`, whose answer is the service's word for what it takes.
  return {
    generationId,
    config,
    messages,
    ...(Object.keys(variables).length > 0 ? { variables } : {}),
  } as LlmRequest;
}
