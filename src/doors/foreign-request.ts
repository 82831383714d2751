/**
 * What the doors for clients of other APIs share of a request: which fields they take, whose idempotency key it is, where variables
 * stand, and what the config says of tools and objects. Knows none of these APIs.
 *
 * A config owns the parameters of its model. A request that sets one is refused by its name: if the door ignored it, a client would
 * take the answer for something that it isn't.
 */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { mayUse, type Caller } from '../caller.ts';
import type { Config, ConfigSnapshot } from '../configs/configs.ts';
import { LlmError } from '../errors.ts';
import { inputIssues, type InputIssue, type InputSchemas, type StreamRequest } from '../protocol.ts';
import { quote } from '../settings/problems.ts';
import { emptyBody } from './json-body.ts';

/** A request of another API, as the service takes it. */
export interface ForeignRequest {
  readonly request: StreamRequest & { readonly answerTokensMax?: number };
  /** Whether the client has named the generation: only then it can come back after it was cut off. */
  readonly named: boolean;
  /** Whether the generation goes on without viewers, whatever the config says. */
  readonly background?: boolean;
}

// ----------------------------------------------------------------------------------------------------------- fields

/** The parameters by which clients of other APIs would set what a config owns. */
const owned: ReadonlySet<string> = new Set(
  (
    'temperature top_p top_k stop stop_sequences seed logit_bias frequency_penalty presence_penalty ' +
    'max_tokens max_output_tokens max_completion_tokens max_tool_calls verbosity system instructions thinking ' +
    'reasoning reasoning_effort service_tier speed effort mcp_servers container context_management betas fallbacks ' +
    'inference_geo web_search_options'
  ).split(' '),
);

/**
 * The fields of a body, judged by the schemas of those that the door takes. A field that is null counts as absent.
 *
 * @throws LlmError `invalid_input` with an issue for each field that is wrong, that the config owns, or that is not known.
 */
export function parseFields<Shape extends z.ZodRawShape>(
  shape: Shape,
  body: unknown,
  model: unknown,
): z.output<z.ZodObject<Shape>> {
  if (body === undefined) throw emptyBody();
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw LlmError.invalidInput([{ path: '', message: 'expected a JSON object' }]);
  }
  const fields = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
  const decider = typeof model === 'string' && model !== '' ? `the config ${quote(model)}` : 'the config';
  const issues: InputIssue[] = Object.keys(fields).flatMap((path) => {
    if (Object.hasOwn(shape, path)) return [];
    return [{ path, message: owned.has(path) ? `expected nothing: ${decider} decides it` : 'unknown field' }];
  });
  const parsed = z.object(shape).safeParse(fields);
  if (!parsed.success) issues.push(...inputIssues(parsed.error));
  if (issues.length > 0 || !parsed.success) throw LlmError.invalidInput(issues);
  return parsed.data;
}

/** A field that may be there with this value only, which is what happens anyway. */
export function onlyValue<const Value extends z.core.util.Literal>(value: Value, why: string) {
  return z.literal(value, { error: `expected ${JSON.stringify(value)} or nothing: ${why}` }).optional();
}

/** A field that is taken and has no effect: a label for the other API's own account of things. */
export const label = z.unknown().optional();

/** The values of a prompt's variables. The schema of all doors judges them later. */
export const variablesField = z
  .record(z.string(), z.string(), { error: 'expected a map from name to text' })
  .optional();

// --------------------------------------------------------------------------------------------------- headers, whole

const variablesHeader = 'x-llm-variables';

/**
 * The variables of a request: from its body, or from the header `x-llm-variables` as JSON, for clients that can't add to the body.
 *
 * @throws LlmError `invalid_input`, also where both are there.
 */
export function variablesIn(
  headers: IncomingHttpHeaders,
  inBody: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> | undefined {
  const written = headers[variablesHeader];
  if (written === undefined) return inBody;
  const problem = (message: string) => LlmError.invalidInput([{ path: variablesHeader, message }]);
  if (inBody !== undefined) throw problem('expected nothing, since the body has variables');
  let value: unknown;
  try {
    value = JSON.parse(String(written));
  } catch {
    throw problem('expected a JSON object of texts');
  }
  const parsed = variablesField.safeParse(value);
  if (!parsed.success) throw problem('expected a JSON object of texts');
  return parsed.data;
}

const keyCharsMax = 255;
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * The generationId that the header `Idempotency-Key` names: a UUID is taken as it is. Clients of other APIs send other texts too; of
 * those, a UUID is made (RFC 9562, section 5.8), always the same one of the same text.
 *
 * @throws LlmError `invalid_input`
 */
export function generationIdIn(headers: IncomingHttpHeaders): string | undefined {
  const key = headers['idempotency-key'];
  if (key === undefined) return undefined;
  const text = String(key);
  if (text === '' || text.length > keyCharsMax) {
    throw LlmError.invalidInput([{ path: 'Idempotency-Key', message: `expected 1 to ${keyCharsMax} characters` }]);
  }
  if (uuid.test(text)) return text.toLowerCase();
  const hex = createHash('sha256').update(text).digest('hex');
  const variant = ((Number.parseInt(hex[16]!, 16) & 0b0011) | 0b1000).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/**
 * The request in the service's own form, judged by the schema of all doors.
 *
 * @throws LlmError `invalid_input`
 */
export function ownRequest(schemas: InputSchemas, request: Record<keyof StreamRequest, unknown>): StreamRequest {
  const parsed = schemas.stream.safeParse(request);
  if (parsed.success) return parsed.data;
  throw LlmError.from(parsed.error);
}

// -------------------------------------------------------------------------------------------------------- the config

/** The config that a caller names; undefined where it has none of that name, which is refused later, or not at all if the generation exists. */
export function configNamed(configs: ConfigSnapshot, caller: Caller, name: string): Config | undefined {
  return mayUse(caller, name) ? configs.get(name) : undefined;
}

/**
 * Refuses tools that the config doesn't have: if the door ignored one, the model would just never call it.
 *
 * @param names The names that the request has, each with its place; undefined for a tool without a name.
 * @throws LlmError `invalid_input`
 */
export function checkTools(
  config: Config | undefined,
  names: readonly (readonly [string, string | undefined])[],
): void {
  if (!config) return;
  const issues = names.flatMap(([path, name]) => {
    const tool = name === undefined ? undefined : config.tools?.get(name);
    if (tool && !tool.hidden) return [];
    const found = name === undefined ? 'a tool without a name' : quote(name);
    return [{ path, message: `expected a tool of the config ${quote(config.name)}, found ${found}` }];
  });
  if (issues.length > 0) throw LlmError.invalidInput(issues);
}

/**
 * Refuses a request that asks for an object where the config answers with text. The config's schema is the one that counts.
 *
 * @param path Where the request asks for it; undefined where it doesn't.
 * @throws LlmError `invalid_input`
 */
export function checkObject(config: Config | undefined, path: string | undefined): void {
  if (!config || path === undefined || config.output !== undefined) return;
  const message = `expected nothing: the config ${quote(config.name)} has no "output", so it answers with text`;
  throw LlmError.invalidInput([{ path, message }]);
}

/**
 * The config for a generation that such a request starts. Its calls for the client end the answer at once, since the client brings
 * the results in its next request. A client that has named no id can't come back, so its answer ends when it leaves.
 */
export function adaptedConfig(config: Config, { request, named, background = false }: ForeignRequest): Config {
  const { answerTokensMax = Infinity } = request;
  const { fallback, onDisconnect, clientTools, maxTokens } = config;
  const cancelsAtOnce = !named && onDisconnect !== 'continue';
  const ownTurn = cancelsAtOnce ? { cancelAfterMs: 0 } : onDisconnect;
  return {
    ...config,
    onDisconnect: background ? 'continue' : ownTurn,
    clientTools: { ...clientTools, waitMs: 0 },
    maxTokens: Math.min(maxTokens, answerTokensMax),
    ...(fallback ? { fallback: adaptedConfig(fallback, { request, named, background }) } : {}),
  };
}
