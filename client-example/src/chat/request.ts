/** Makes the request for the last answer of a conversation from its turns. Pure, and the same after every reload. */
import { textOf, type Answer } from '../stream/answer.ts';
import type { LlmRequest } from '../stream/use-llm-stream.ts';
import type { Turn } from './conversations.ts';

/**
 * @param answerOf The answer of an earlier turn. If it has no text it is left out, because the API takes no empty
 *   message. Several questions in a row are allowed.
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
  // The names come from `llm.configs`: the service has listed them, so it accepts them.
  return {
    generationId,
    config,
    messages,
    ...(Object.keys(variables).length > 0 ? { variables } : {}),
  } as LlmRequest;
}
