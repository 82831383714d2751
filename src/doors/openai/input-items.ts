/** The conversation of a request to OpenAI's APIs as messages of the service. Each part is named where it can't be taken. */
import { z } from 'zod';
import { ownServerName } from '../../adapters/calls.ts';
import { callOf, thinkingOf } from '../../adapters/openai/response-items.ts';
import { LlmError } from '../../errors.ts';
import type { ContentBlock, Message } from '../../protocol.ts';
import { PastTurns, toolResult, toolUse } from '../past-turns.ts';

const text = z.object({ text: z.string() });
const imageUrl = z.string({ error: 'expected a URL, or a data URL' });

/** The parts of a message, by their `type`, in Responses and in Chat Completions. */
const parts: Readonly<Record<string, z.ZodType<ContentBlock>>> = {
  input_text: text.transform(textBlock),
  output_text: text.transform(textBlock),
  text: text.transform(textBlock),
  refusal: z.object({ refusal: z.string() }).transform(({ refusal }) => textBlock({ text: refusal })),
  input_image: z.object({ image_url: imageUrl }).transform(({ image_url: url }) => sourceBlock('image', url)),
  image_url: z
    .object({ image_url: z.object({ url: imageUrl }) })
    .transform(({ image_url: { url } }) => sourceBlock('image', url)),
  input_file: z.object({ file_data: z.string().optional(), file_url: z.string().optional() }).transform(fileBlock),
  file: z.object({ file: z.object({ file_data: z.string().optional() }) }).transform(({ file }) => fileBlock(file)),
};

const content = z.union([z.string(), z.array(z.looseObject({ type: z.string() }))]);
type Content = z.output<typeof content>;

const roles = z.enum(['user', 'assistant', 'system', 'developer']);
const messageItem = z.object({ type: z.literal('message').optional(), role: roles, content });
const callItem = z.object({ id: z.string().nullish(), call_id: z.string(), name: z.string(), arguments: z.string() });
const resultItem = z.object({ call_id: z.string(), output: content });
const reasoningItem = z.object({
  summary: z.array(text).optional(),
  encrypted_content: z.string().nullish(),
});
const ownCallItem = z.object({
  id: z.string(),
  name: z.string(),
  arguments: z.string(),
  server_label: z.literal(ownServerName),
  output: z.string().nullish(),
  error: z.unknown(),
});

const itemTypes = 'message, function_call, function_call_output, reasoning, or mcp_call of an answer';

/**
 * The `input` of a Responses request.
 *
 * @throws LlmError `invalid_input`
 */
export function messagesOfInput(input: unknown): Message[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }];
  if (!Array.isArray(input)) throw problem('input', 'expected text or a list of items');
  const past = new PastTurns();
  const steps = new Steps();
  input.forEach((item: unknown, at) => addItem(past, steps, item, at));
  return past.messages;
}

/** Which step of which answer the calls belong to that follow each other. Calls of one step stand in one message of the model. */
class Steps {
  #current: string | undefined;

  isOf(itemId: string | null | undefined): boolean {
    return this.#current !== undefined && typeof itemId === 'string' && callOf(itemId).step === this.#current;
  }

  enter(itemId: string): void {
    this.#current = callOf(itemId).step;
  }
}

function addItem(past: PastTurns, steps: Steps, item: unknown, at: number): void {
  const path = `input[${at}]`;
  const type = typeOf(item) ?? 'message';
  switch (type) {
    case 'message': {
      const { role, content: given } = judge(messageItem, item, path);
      return past.add(roleOf(role, at, path), blocksOf(given, `${path}.content`));
    }
    case 'function_call': {
      const { id, call_id: callId, name, arguments: json } = judge(callItem, item, path);
      const call = toolUse(callId, name, parsed(json));
      return steps.isOf(id) ? past.addCall(call) : past.add('assistant', [call]);
    }
    case 'function_call_output': {
      const { call_id: id, output } = judge(resultItem, item, path);
      return past.add('user', [toolResult(id, resultContent(output, `${path}.output`), false)]);
    }
    case 'reasoning': {
      const { summary = [], encrypted_content: encrypted } = judge(reasoningItem, item, path);
      // Upstream takes no thinking without its signature.
      if (typeof encrypted !== 'string') return undefined;
      const shown = summary.map((each) => each.text).join('');
      return past.add('assistant', [thinkingOf(encrypted, shown) as ContentBlock]);
    }
    case 'mcp_call': {
      const { id, name, arguments: json, output, error } = judge(ownCallItem, item, path);
      const failed = typeof error === 'string';
      const result = failed ? error : output;
      if (typeof result !== 'string') return past.leaveOut();
      if (!steps.isOf(id)) past.endStep();
      steps.enter(id);
      past.addCall(toolUse(callOf(id).id, name, parsed(json)));
      return past.addResult(toolResult(callOf(id).id, result, failed));
    }
    default:
      throw problem(`${path}.type`, `expected ${itemTypes}`);
  }
}

const chatCalls = z
  .array(z.object({ id: z.string(), function: z.object({ name: z.string(), arguments: z.string() }) }))
  .nullish();
const chatMessage = z.discriminatedUnion('role', [
  z.object({ role: z.enum(['user', 'system', 'developer']), content }),
  z.object({ role: z.literal('assistant'), content: content.nullish(), tool_calls: chatCalls }),
  z.object({ role: z.literal('tool'), tool_call_id: z.string(), content }),
]);

/**
 * The `messages` of a Chat Completions request.
 *
 * @throws LlmError `invalid_input`
 */
export function messagesOfChat(messages: unknown): Message[] {
  if (!Array.isArray(messages)) throw problem('messages', 'expected a list of messages');
  const past = new PastTurns();
  messages.forEach((each: unknown, at) => {
    const path = `messages[${at}]`;
    const message = judge(chatMessage, each, path);
    if (message.role === 'tool') {
      const result = resultContent(message.content, `${path}.content`);
      return past.add('user', [toolResult(message.tool_call_id, result, false)]);
    }
    const blocks = blocksOf(message.content ?? [], `${path}.content`);
    if (message.role !== 'assistant') return past.add(roleOf(message.role, at, path), blocks);
    const calls = (message.tool_calls ?? []).map((call) =>
      toolUse(call.id, call.function.name, parsed(call.function.arguments)),
    );
    return past.add('assistant', [...blocks, ...calls]);
  });
  return past.messages;
}

// ------------------------------------------------------------------------------------------------------------ parts

/** An instruction at the beginning would stand in for the config's prompt. Further down it holds from there on. */
function roleOf(role: z.output<typeof roles>, at: number, path: string): Message['role'] {
  if (role !== 'system' && role !== 'developer') return role;
  if (at === 0)
    throw problem(`${path}.role`, `expected "user": the config has the prompt, so no ${role} message begins`);
  return 'system';
}

/** Empty text is left out, since upstream refuses it. */
function blocksOf(given: Content, path: string): ContentBlock[] {
  if (typeof given === 'string') return given === '' ? [] : [textBlock({ text: given })];
  return given.map((part, at) => {
    const schema = Object.hasOwn(parts, part.type) ? parts[part.type] : undefined;
    if (!schema) throw problem(`${path}[${at}].type`, `expected one of ${Object.keys(parts).join(', ')}`);
    return judge(schema, part, `${path}[${at}]`);
  });
}

function resultContent(given: Content, path: string): string | ContentBlock[] {
  return typeof given === 'string' ? given : blocksOf(given, path);
}

function textBlock({ text: written }: { readonly text: string }): ContentBlock {
  return { type: 'text', text: written };
}

/** An image or a document: within a data URL, or where upstream finds it. */
function sourceBlock(type: 'image' | 'document', url: string): ContentBlock {
  const [, mediaType, data] = /^data:([\w.+/-]+);base64,(.*)$/s.exec(url) ?? [];
  return {
    type,
    source: mediaType === undefined ? { type: 'url', url } : { type: 'base64', media_type: mediaType, data },
  };
}

function fileBlock(file: { file_data?: string | undefined; file_url?: string | undefined }): ContentBlock {
  return sourceBlock('document', file.file_data ?? file.file_url ?? '');
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}

function typeOf(item: unknown): string | undefined {
  const { type } = (item ?? {}) as { readonly type?: unknown };
  return typeof type === 'string' ? type : undefined;
}

function judge<T>(schema: z.ZodType<T>, value: unknown, path: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { issues = [] } = LlmError.from(result.error);
  const within = (inner: string) => (inner === '' || inner.startsWith('[') ? `${path}${inner}` : `${path}.${inner}`);
  throw LlmError.invalidInput(issues.map((issue) => ({ ...issue, path: within(issue.path) })));
}

function problem(path: string, message: string): LlmError {
  return LlmError.invalidInput([{ path, message }]);
}
