/** What a chat of the AI SDK sends: its body, and the request that is made of it. The same for the door and for other people's apps. */
import { z } from 'zod';
import { toMessages, UnsupportedMessageError } from '../../adapters/ui-history.ts';
import { LlmError } from '../../errors.ts';
import type { InputSchemas, StreamRequest } from '../../protocol.ts';
import { parseInput } from '../parse-input.ts';

/** The body of `DefaultChatTransport`, and what an app may add to it. Unknown fields are ignored, as those of REST's bodies are. */
export function uiBodySchema(schemas: InputSchemas) {
  const part = z
    .looseObject({ type: z.string() })
    .meta({ id: 'UIMessagePart', description: 'A part of a message, as the AI SDK has it.' });
  const message = z
    .looseObject({
      id: z.string().optional(),
      role: z.enum(['system', 'user', 'assistant']),
      parts: z.array(part),
      metadata: z.unknown().optional(),
    })
    .meta({ id: 'UIMessage', description: 'A message, as the AI SDK has it.' });
  const { variables, generationId } = schemas.stream.shape;
  return z
    .object({
      id: schemas.thread.describe('The chat’s id: the `thread` of its generations.'),
      messages: z.array(message).min(1),
      variables,
      generationId,
      tools: z.unknown().optional().describe('Refused, unless the config has tools of these names.'),
      system: z.unknown().optional().describe('Refused: the config has the instructions.'),
    })
    .meta({ id: 'UIChatRequest' });
}

/** The schema of a body. */
export type UiBodySchema = ReturnType<typeof uiBodySchema>;
/** A parsed body. */
export type UiBody = z.infer<UiBodySchema>;

/**
 * The request for an answer to a chat.
 *
 * @throws LlmError `invalid_input`
 */
export function streamRequestOf(body: UiBody, config: string, schemas: InputSchemas): StreamRequest {
  const { id: thread, variables, generationId } = body;
  let messages: StreamRequest['messages'];
  try {
    messages = toMessages(body.messages);
  } catch (error) {
    throw error instanceof UnsupportedMessageError ? LlmError.invalidInput(error.issues) : error;
  }
  return parseInput(schemas.stream, { config, messages, variables, generationId, thread });
}

/** The id of the message that the answer goes on with, if the last one is an answer. */
export function continuedMessageId({ messages }: UiBody): string | undefined {
  const last = messages.at(-1);
  return last?.role === 'assistant' ? last.id : undefined;
}

/**
 * Refuses what a request brings along and nobody would read: silence would look like a model that won't call a tool, or doesn't obey.
 *
 * @param known Whether the config has a tool of this name.
 * @throws LlmError `invalid_input`, which names each of them
 */
export function refuseUnread({ tools, system }: UiBody, config: string, known: (name: string) => boolean): void {
  const unknown = namesIn(tools).filter((name) => !known(name));
  const issues = unknown.map((name) => ({
    path: `tools.${name}`,
    message: `the config ${config} has no such tool; a request can’t bring one along`,
  }));
  if (typeof system === 'string' && system !== '') {
    issues.push({ path: 'system', message: `the config ${config} has the instructions` });
  }
  if (issues.length > 0) throw LlmError.invalidInput(issues);
}

/** The names of tools, which are a list of objects with a name or an object by name. */
function namesIn(tools: unknown): readonly string[] {
  if (typeof tools !== 'object' || tools === null) return [];
  if (!Array.isArray(tools)) return Object.keys(tools);
  return tools.map((tool: { readonly name?: unknown } | null) => String(tool?.name));
}
