/** A request to OpenAI's Responses API as one of the service. Knows what such a request may hold, and nothing of HTTP but headers. */
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import type { Caller } from '../../caller.ts';
import type { ConfigSnapshot } from '../../configs/configs.ts';
import { LlmError } from '../../errors.ts';
import type { InputSchemas } from '../../protocol.ts';
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
import { messagesOfInput } from './input-items.ts';

const text = z.union([z.string(), z.object({ text: z.string() }).transform((part) => part.text)]);
const nothing = (why: string) => z.undefined({ error: `expected nothing: ${why}` }).optional();

/** The parts of a request that Responses and Chat Completions share. */
export const commonShape = {
  stream: z.boolean().optional(),
  variables: variablesField,
  tool_choice: onlyValue('auto', 'the model decides which tools it calls'),
  parallel_tool_calls: onlyValue(true, 'the config decides it'),
  store: onlyValue(true, 'the service keeps every answer for a time, so that it can be resumed'),
  metadata: label,
  user: label,
  safety_identifier: label,
  prompt_cache_key: label,
  prompt_cache_retention: label,
};

const shape = {
  ...commonShape,
  model: z.string().min(1).optional(),
  prompt: z
    .strictObject({
      id: z.string().min(1),
      variables: z.record(z.string(), text).nullish(),
      version: z.null({ error: 'expected nothing: a config has one version' }).optional(),
    })
    .optional(),
  input: z.unknown(),
  background: z.boolean().optional(),
  tools: z.array(z.looseObject({ type: z.string(), name: z.string().optional() })).optional(),
  text: z.strictObject({ format: z.looseObject({ type: z.string() }).optional() }).optional(),
  truncation: onlyValue('disabled', 'the service drops no part of a conversation'),
  include: z.array(onlyValue('reasoning.encrypted_content', 'nothing else is left out')).optional(),
  stream_options: z.looseObject({}).optional(),
  previous_response_id: nothing('send the conversation as input, since the service joins no answers'),
  conversation: nothing('send the conversation as input, since the service keeps none'),
};

interface ResponseRequest extends ForeignRequest {
  readonly stream: boolean;
  readonly background: boolean;
}

/** What a request is judged by. */
export interface RequestContext {
  readonly schemas: InputSchemas;
  readonly configs: ConfigSnapshot;
}

/** @throws LlmError `invalid_input` */
export function responseRequest(
  body: unknown,
  headers: IncomingHttpHeaders,
  caller: Caller,
  { schemas, configs }: RequestContext,
): ResponseRequest {
  const fields = parseFields(shape, body, modelOf(body));
  const { prompt, model = prompt?.id } = fields;
  if (model === undefined) throw problem('model', 'expected the name of a config');
  if (prompt && prompt.id !== model) throw problem('prompt.id', 'expected the same config as model, or no model');
  if (prompt?.variables && fields.variables) throw problem('variables', 'expected nothing, since prompt has variables');
  const config = configNamed(configs, caller, model);
  // Tools of OpenAI's own have a type and no name.
  const nameOf = (tool: { type: string; name?: string | undefined }) =>
    tool.type === 'function' ? tool.name : tool.type;
  checkTools(
    config,
    (fields.tools ?? []).map((tool, at) => [`tools[${at}]`, nameOf(tool)]),
  );
  checkObject(config, isText(fields.text?.format) ? undefined : 'text.format');
  const generationId = generationIdIn(headers);
  const request = ownRequest(schemas, {
    config: model,
    messages: messagesOfInput(fields.input),
    variables: variablesIn(headers, prompt?.variables ?? fields.variables),
    generationId,
    lastEventId: undefined,
    thread: undefined,
    traceparent: undefined,
  });
  const { stream = false, background = false } = fields;
  return { request, named: generationId !== undefined, stream, background };
}

/** Whether a format asks for text, which is what it is without one. */
export function isText(format: { readonly type: string } | undefined): boolean {
  return format === undefined || format.type === 'text';
}

function modelOf(body: unknown): unknown {
  const { model, prompt } = (body ?? {}) as { readonly model?: unknown; readonly prompt?: { readonly id?: unknown } };
  return model ?? prompt?.id;
}

function problem(path: string, message: string): LlmError {
  return LlmError.invalidInput([{ path, message }]);
}
