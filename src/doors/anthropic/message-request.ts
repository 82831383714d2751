/** A request to Anthropic's Messages API as one of the service. Knows what such a request may hold, and nothing of HTTP but headers. */
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { ownServerName } from '../../adapters/calls.ts';
import type { Caller } from '../../caller.ts';
import type { Config, ConfigSnapshot } from '../../configs/configs.ts';
import { LlmError } from '../../errors.ts';
import type { ContentBlock, InputSchemas, Message } from '../../protocol.ts';
import {
  checkObject,
  checkTools,
  configNamed,
  generationIdIn,
  label,
  onlyValue,
  ownRequest,
  parseFields,
  variablesField,
  variablesIn,
  type ForeignRequest,
} from '../foreign-request.ts';
import { PastTurns, toolResult, toolUse } from '../past-turns.ts';

const format = z.looseObject({ type: z.literal('json_schema') }).optional();

const shape = {
  model: z.string({ error: 'expected the name of a config' }).min(1),
  messages: z.unknown(),
  max_tokens: z.int().min(1).optional(),
  stream: z.boolean().optional(),
  variables: variablesField,
  tools: z.array(z.looseObject({ name: z.string().optional() })).optional(),
  tool_choice: z
    .strictObject({
      type: onlyValue('auto', 'the model decides which tools it calls'),
      disable_parallel_tool_use: onlyValue(false, 'the config decides it'),
    })
    .optional(),
  output_config: z.strictObject({ format }).optional(),
  output_format: format,
  metadata: label,
};

interface MessageRequest extends ForeignRequest {
  readonly stream: boolean;
}

/** @throws LlmError `invalid_input` */
export function messageRequest(
  body: unknown,
  headers: IncomingHttpHeaders,
  caller: Caller,
  { schemas, configs }: { readonly schemas: InputSchemas; readonly configs: ConfigSnapshot },
): MessageRequest {
  const fields = parseFields(shape, body, modelOf(body));
  const config = configNamed(configs, caller, fields.model);
  checkTools(
    config,
    (fields.tools ?? []).map(({ name }, at) => [`tools[${at}].name`, name]),
  );
  checkObject(config, formatPathOf(fields));
  const generationId = generationIdIn(headers);
  const request = ownRequest(schemas, {
    config: fields.model,
    messages: withOwnCalls(fields.messages),
    variables: variablesIn(headers, fields.variables),
    generationId,
    lastEventId: undefined,
    thread: undefined,
    traceparent: undefined,
  });
  const bound = boundOf(config, fields.max_tokens);
  return {
    request: { ...request, ...(bound === undefined ? {} : { answerTokensMax: bound }) },
    named: generationId !== undefined,
    stream: fields.stream ?? false,
  };
}

function modelOf(body: unknown): unknown {
  return typeof body === 'object' && body !== null && 'model' in body ? body.model : undefined;
}

function formatPathOf(fields: { output_config?: { format?: unknown } | undefined; output_format?: unknown }) {
  if (fields.output_config?.format !== undefined) return 'output_config.format';
  return fields.output_format === undefined ? undefined : 'output_format';
}

/**
 * The bound that a client sets on the answer: its SDK makes it name one. A lower one than the config's holds, so that no answer is
 * longer, and dearer, than the client has said; a higher one changes nothing.
 *
 * @throws LlmError `invalid_input` for one that leaves nothing beside the thinking that the config asks for
 */
function boundOf(config: Config | undefined, asked: number | undefined): number | undefined {
  if (!config || asked === undefined || asked >= config.maxTokens) return undefined;
  const thinking = config.thinking?.budgetTokens ?? 0;
  if (asked > thinking) return asked;
  const message = `expected more than ${thinking}, which the config may spend on thinking`;
  throw LlmError.invalidInput([{ path: 'max_tokens', message }]);
}

/** The messages, with the calls of the service's own tools as upstream takes them. What isn't a list of messages is refused later. */
function withOwnCalls(messages: unknown): unknown {
  if (!Array.isArray(messages) || !messages.some(hasOwnCall)) return messages;
  const past = new PastTurns();
  for (const each of messages as readonly unknown[]) {
    const { role, content } = (each ?? {}) as Message;
    if (typeof content === 'string') past.add(role, [{ type: 'text', text: content }]);
    else if (Array.isArray(content) && content.every(isObject))
      addBlocks(past, role, content as readonly ContentBlock[]);
    else return messages;
  }
  return past.messages;
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

function hasOwnCall(message: unknown): boolean {
  const { content } = (message ?? {}) as { readonly content?: unknown };
  return Array.isArray(content) && content.some(isOwnCall);
}

function isOwnCall(block: unknown): boolean {
  const { type, server_name: server } = (block ?? {}) as Partial<ContentBlock>;
  return type === 'mcp_tool_use' && server === ownServerName;
}

function addBlocks(past: PastTurns, role: Message['role'], blocks: readonly ContentBlock[]): void {
  const own = new Set(blocks.filter(isOwnCall).map(({ id }) => id));
  const isOwnResult = ({ type, tool_use_id: id }: ContentBlock) => type === 'mcp_tool_result' && own.has(id);
  const results = new Map(blocks.filter(isOwnResult).map((block) => [block['tool_use_id'], block]));
  if (role !== 'assistant' || own.size === 0) return past.add(role, blocks);
  for (const block of blocks) {
    const { id, name, input, tool_use_id: of, content, is_error: isError } = block;
    if (isOwnResult(block)) {
      if (isKnown(block)) past.addResult(toolResult(String(of), asSent(content), isError === true));
    } else if (!isOwnCall(block)) past.add(role, [block]);
    else if (isKnown(results.get(id))) past.add(role, [toolUse(String(id), String(name), input)]);
    else past.leaveOut();
  }
}

/** The model has seen the text alone: what upstream has in its cache holds only if it stays so. */
function asSent(content: unknown): unknown {
  const [first, ...others] = content as readonly ContentBlock[];
  return first?.type === 'text' && others.length === 0 ? first['text'] : content;
}

/** The service sends no content where the tool doesn't declare its output. */
function isKnown(result: ContentBlock | undefined): boolean {
  const content = result?.['content'];
  return Array.isArray(content) && content.length > 0;
}
