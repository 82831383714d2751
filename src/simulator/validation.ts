/**
 * Refuses every request that the Messages API refuses, with the API's error types and, where they are known, its words.
 * Knows nothing of replies. The body of a request that it accepts has the type `MessagesBody`.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { isObject, type Fields } from './fields.ts';
import { namesBeta, outputObjection } from './output-validation.ts';
import { toolsObjection } from './tool-validation.ts';

/** A content block of a request. */
export interface RequestBlock {
  /** The block's kind, such as `text` or `image`. */
  readonly type: string;
  /** The block's other fields. */
  readonly [field: string]: unknown;
}

/** A text block of the system prompt. */
export interface RequestText {
  /** Always `text`. */
  readonly type: 'text';
  /** The text itself. */
  readonly text: string;
  /** Marks the end of what may be cached; absent means no mark. */
  readonly cache_control?: unknown;
}

/** A message of a request. */
export interface RequestMessage {
  /** Who speaks. */
  readonly role: 'user' | 'assistant' | 'system';
  /** The message's text, or its content blocks. */
  readonly content: string | readonly RequestBlock[];
}

/** Whether and how the model thinks. */
export interface RequestThinking {
  /** `adaptive`, `between_tools`, `enabled` or `disabled`. */
  readonly type: string;
  /** `omitted`: the thinking is not sent. */
  readonly display?: string | null;
  /** The most tokens of thinking; only with `enabled`. */
  readonly budget_tokens?: number;
}

/** A tool that the model may call. */
export interface RequestTool {
  /** The name by which the model calls it; absent for a whole set of tools, such as those of an MCP server. */
  readonly name?: string;
  /** `custom` or absent: whoever asks executes the tool. Any other type is a tool of the API. */
  readonly type?: string;
  /** What the model reads about the tool. */
  readonly description?: string;
  /** The JSON Schema of the input; absent for a tool of the API. */
  readonly input_schema?: unknown;
}

/** Whether and how the model chooses a tool. */
export interface RequestToolChoice {
  /** `auto`, `any`, `tool` or `none`. */
  readonly type: string;
  /** The tool to call, with `tool`. */
  readonly name?: string;
  /** Whether a message has one call at most. */
  readonly disable_parallel_tool_use?: boolean;
}

/** The body of a valid request: the fields that the simulator reads. It ignores other fields. The names are the API's.
 */
export interface MessagesBody {
  /** The model's id. */
  readonly model: string;
  /** The most tokens of output. */
  readonly max_tokens: number;
  /** The conversation, from the first message to the last. */
  readonly messages: readonly RequestMessage[];
  /** The simulator only streams. */
  readonly stream: true;
  /** The system prompt; absent where there is none. */
  readonly system?: string | readonly RequestText[];
  /** Texts at which the output stops; absent where there are none. */
  readonly stop_sequences?: readonly string[];
  /** Whether and how the model thinks; absent means that it doesn't. */
  readonly thinking?: RequestThinking;
  /** The tools that the model may call; absent where there are none. */
  readonly tools?: readonly RequestTool[];
  /** How the model chooses among the tools; absent means that it is free to. */
  readonly tool_choice?: RequestToolChoice;
  /** From 0 to 1; absent means the model's default. */
  readonly temperature?: number;
  /** From 0 to 1; absent means the model's default. */
  readonly top_p?: number;
  /** 0 or more; absent means the model's default. */
  readonly top_k?: number;
  /** Fields that the simulator ignores. */
  readonly [field: string]: unknown;
}

/** An error of the API. */
export interface ApiError {
  /** HTTP status. In an event of a stream it isn't sent. */
  readonly status: number;
  /** `error.type`, such as `overloaded_error`. */
  readonly type: string;
  /** `error.message`. */
  readonly message: string;
}

/** The parts of a request that are checked. `body` is undefined where it is no JSON. */
export interface RequestFacts {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
  readonly tooLarge: boolean;
}

/** The first error in the order in which the API checks a request; undefined where the request is valid. */
export function findRefusal(request: RequestFacts, apiKey: string | undefined): ApiError | undefined {
  if (request.method !== 'POST' || request.path !== '/v1/messages') {
    return { status: 404, type: 'not_found_error', message: 'Not found' };
  }
  const message = apiKey === undefined ? undefined : authObjection(request.headers, apiKey);
  if (message !== undefined) return { status: 401, type: 'authentication_error', message };
  if (request.tooLarge) {
    return { status: 413, type: 'request_too_large', message: 'Request exceeds the maximum size' };
  }
  if (request.body === undefined) return invalid('The request body is not valid JSON');
  if (!isObject(request.body)) return invalid('Input should be a valid dictionary');
  const version = request.headers['anthropic-version'];
  if (typeof version !== 'string' || version === '') return invalid('anthropic-version: header is required');

  const body = request.body;
  if (body['model'] === undefined) return invalid('model: Field required');
  if (typeof body['model'] !== 'string') return invalid('model: Input should be a valid string');
  if (!body['model'].startsWith('claude-') || retiredModels.has(body['model'])) {
    return { status: 404, type: 'not_found_error', message: `model: ${body['model']}` };
  }
  const objection =
    maxTokensObjection(body) ??
    messagesObjection(body['messages']) ??
    systemObjection(body['system']) ??
    samplingObjection(body, body['model'], version) ??
    stopSequencesObjection(body['stop_sequences']) ??
    thinkingObjection(body, request.headers) ??
    outputObjection(body, request.headers) ??
    toolsObjection(body) ??
    (body['stream'] === true ? undefined : 'stream: this simulator only streams; set it to true');
  return objection === undefined ? undefined : invalid(objection);
}

const retiredModels: ReadonlySet<string> = new Set(['claude-3-5-sonnet-20240620']);

function authObjection(headers: IncomingHttpHeaders, apiKey: string): string | undefined {
  const bearer = headers.authorization;
  if (bearer !== undefined) return bearer === `Bearer ${apiKey}` ? undefined : 'Invalid bearer token';
  const key = headers['x-api-key'];
  if (key === undefined) return 'x-api-key header is required';
  return key === apiKey ? undefined : 'invalid x-api-key';
}

function maxTokensObjection({ max_tokens: maxTokens }: Fields): string | undefined {
  if (maxTokens === undefined) return 'max_tokens: Field required';
  if (!Number.isInteger(maxTokens)) return 'max_tokens: Input should be a valid integer';
  return (maxTokens as number) < 1 ? 'max_tokens: Input should be greater than or equal to 1' : undefined;
}

function messagesObjection(messages: unknown): string | undefined {
  if (messages === undefined) return 'messages: Field required';
  if (!Array.isArray(messages)) return 'messages: Input should be a valid array';
  if (messages.length === 0) return 'messages: at least one message is required';
  for (const [index, message] of (messages as unknown[]).entries()) {
    const objection = messageObjection(message, `messages.${index}`, index === messages.length - 1);
    if (objection !== undefined) return objection;
  }
  const [first] = messages as Fields[];
  return first!['role'] === 'user' ? undefined : 'messages: first message must use the "user" role';
}

function messageObjection(message: unknown, path: string, last: boolean): string | undefined {
  if (!isObject(message)) return `${path}: Input should be a valid dictionary`;
  const { role, content } = message;
  if (role === undefined) return `${path}.role: Field required`;
  if (role !== 'user' && role !== 'assistant' && role !== 'system') {
    return `messages: Unexpected role ${JSON.stringify(role)}. Allowed roles are "user", "assistant" or "system".`;
  }
  if (content === undefined) return `${path}.content: Field required`;
  if (typeof content !== 'string' && !Array.isArray(content)) return `${path}.content: Input should be a valid string`;
  if (content.length === 0) {
    if (last && role === 'assistant') return undefined;
    return `${path}: all messages must have non-empty content except for the optional final assistant message`;
  }
  if (typeof content === 'string') return undefined;
  for (const [index, block] of (content as unknown[]).entries()) {
    if (!isObject(block)) return `${path}.content.${index}: Input should be a valid dictionary`;
    if (typeof block['type'] !== 'string') return `${path}.content.${index}.type: Field required`;
    if (block['type'] !== 'text') continue;
    if (typeof block['text'] !== 'string') return `${path}.content.${index}.text.text: Field required`;
    if (block['text'] === '') return 'messages: text content blocks must be non-empty';
  }
  return undefined;
}

function systemObjection(system: unknown): string | undefined {
  if (system === undefined || typeof system === 'string') return undefined;
  if (!Array.isArray(system)) return 'system: Input should be a valid array';
  for (const [index, block] of (system as unknown[]).entries()) {
    if (!isObject(block) || block['type'] !== 'text' || typeof block['text'] !== 'string') {
      return `system.${index}: Input should be a text block`;
    }
    if (block['text'] === '') return 'system: text content blocks must be non-empty';
  }
  return undefined;
}

/** Only the first version of the API has sampling parameters, and only for models up to 4.6. */
function samplingObjection(body: Fields, model: string, version: string): string | undefined {
  for (const name of ['temperature', 'top_p', 'top_k']) {
    const value = body[name];
    if (value === undefined) continue;
    if (version !== '2023-06-01') return `${name}: not supported on this version`;
    if (!takesSampling(model)) return `${name}: not supported by ${model}`;
    if (typeof value !== 'number') return `${name}: Input should be a valid number`;
    if (value < 0) return `${name}: Input should be greater than or equal to 0`;
    if (name !== 'top_k' && value > 1) return `${name}: Input should be less than or equal to 1`;
  }
  return undefined;
}

function takesSampling(model: string): boolean {
  // Matches claude-sonnet-4-6, claude-opus-4-20250514 and claude-3-7-sonnet-latest, but no name without a version.
  const version = /^claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2})(?!\d))?/.exec(model);
  if (version === null) return false;
  const major = Number(version[1]);
  return major < 4 || (major === 4 && Number(version[2] ?? 0) <= 6);
}

function stopSequencesObjection(sequences: unknown): string | undefined {
  if (sequences === undefined) return undefined;
  if (!Array.isArray(sequences)) return 'stop_sequences: Input should be a valid array';
  for (const [index, sequence] of (sequences as unknown[]).entries()) {
    if (typeof sequence !== 'string') return `stop_sequences.${index}: Input should be a valid string`;
    if (sequence.trim() === '') return 'stop_sequences: each stop sequence must contain non-whitespace';
  }
  return undefined;
}

function thinkingObjection(
  { thinking, max_tokens: maxTokens }: Fields,
  headers: IncomingHttpHeaders,
): string | undefined {
  if (thinking === undefined) return undefined;
  if (!isObject(thinking)) return 'thinking: Input should be a valid dictionary';
  const { type, budget_tokens: budget, display } = thinking;
  if (type !== 'enabled' && type !== 'adaptive' && type !== 'between_tools' && type !== 'disabled') {
    return `thinking: Input tag '${String(type)}' found using 'type' does not match any of the expected tags: 'adaptive', 'between_tools', 'disabled', 'enabled'`;
  }
  if (type === 'between_tools' && display !== undefined) {
    return 'thinking.between_tools.display: Extra inputs are not permitted';
  }
  const updates = display === 'updates' && namesBeta(headers, 'thinking-display-updates-');
  if (display !== undefined && display !== null && display !== 'summarized' && display !== 'omitted' && !updates) {
    return `thinking.${type}.display: Input should be 'summarized' or 'omitted'`;
  }
  if (type !== 'enabled') return undefined;
  if (budget === undefined) return 'thinking.enabled.budget_tokens: Field required';
  if (!Number.isInteger(budget)) return 'thinking.enabled.budget_tokens: Input should be a valid integer';
  if ((budget as number) < 1024) {
    return 'thinking.enabled.budget_tokens: Input should be greater than or equal to 1024';
  }
  return (budget as number) < (maxTokens as number)
    ? undefined
    : '`max_tokens` must be greater than `thinking.budget_tokens`';
}

export function invalid(message: string): ApiError {
  return { status: 400, type: 'invalid_request_error', message };
}
