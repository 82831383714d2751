/** A request to OpenAI's Chat Completions as one of the service. Knows what such a request may hold, and nothing of HTTP but headers. */
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import type { Caller } from '../../caller.ts';
import {
  checkObject,
  checkTools,
  configNamed,
  generationIdIn,
  onlyValue,
  ownRequest,
  parseFields,
  variablesIn,
  type ForeignRequest,
} from '../foreign-request.ts';
import { messagesOfChat } from './input-items.ts';
import { commonShape, isText, type RequestContext } from './response-request.ts';

const shape = {
  ...commonShape,
  model: z.string({ error: 'expected the name of a config' }).min(1),
  messages: z.unknown(),
  n: onlyValue(1, 'a request has one answer'),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).optional(),
  tools: z
    .array(z.looseObject({ type: z.string(), function: z.looseObject({ name: z.string() }).optional() }))
    .optional(),
  response_format: z.looseObject({ type: z.string() }).optional(),
  modalities: z.tuple([z.literal('text')], { error: 'expected ["text"], or nothing' }).optional(),
};

interface ChatRequest extends ForeignRequest {
  readonly stream: boolean;
  readonly withUsage: boolean;
}

/** @throws LlmError `invalid_input` */
export function chatRequest(
  body: unknown,
  headers: IncomingHttpHeaders,
  caller: Caller,
  { schemas, configs }: RequestContext,
): ChatRequest {
  const { model: named } = (body ?? {}) as { readonly model?: unknown };
  const fields = parseFields(shape, body, named);
  const config = configNamed(configs, caller, fields.model);
  checkTools(
    config,
    (fields.tools ?? []).map((tool, at) => [`tools[${at}].function.name`, tool.function?.name]),
  );
  checkObject(config, isText(fields.response_format) ? undefined : 'response_format');
  const generationId = generationIdIn(headers);
  const request = ownRequest(schemas, {
    config: fields.model,
    messages: messagesOfChat(fields.messages),
    variables: variablesIn(headers, fields.variables),
    generationId,
    lastEventId: undefined,
    thread: undefined,
    traceparent: undefined,
  });
  return {
    request,
    named: generationId !== undefined,
    stream: fields.stream ?? false,
    withUsage: fields.stream_options?.include_usage ?? false,
  };
}
