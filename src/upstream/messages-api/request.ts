/**
 * A config and a conversation as a request to the Messages API. What a key of a config adds to it stands in the table of
 * keys (configs/config-keys.ts). A key that isn't set adds nothing, so that upstream's own defaults hold. Knows nothing of
 * how a request is sent.
 */
import { camelCasedName, type BodyFields, type ConfigEntry, type RequestParts } from '../../configs/config-entry.ts';
import { configKeys } from '../../configs/config-keys.ts';
import type { Config } from '../../configs/configs.ts';
import type { Message } from '../../protocol.ts';
import { betaHeader, joinedBetas, type Headers } from '../address/headers.ts';

/** The version whose stream is read here. It is sent with each request, since the SDK would take one from its environment. */
const version = '2026-10-21';

export interface MessageRequest {
  readonly headers: Headers;
  readonly body: BodyFields & { readonly stream: true; readonly messages: readonly Message[] };
}

/** What a request says beside its config and its conversation; only keys that need it look it up. */
export interface RequestSource {
  readonly userId?: RequestParts['userId'] | undefined;
  readonly secret?: RequestParts['secret'] | undefined;
}

export function buildMessageRequest(
  config: Config,
  messages: readonly Message[],
  variables: Readonly<Record<string, string>>,
  { userId = () => '', secret = () => undefined }: RequestSource = {},
): MessageRequest {
  const prompt = config.prompt.render(variables);
  const values = config as unknown as RequestParts['config'];
  const { bodies, headers } = partsOf(config);
  const fields: Record<string, unknown> = {};
  for (const [entry, value] of bodies) {
    const added = entry.body!(value, { config: values, prompt, fields, userId, secret });
    for (const name in added) fields[name] = joined(fields[name], added[name]);
  }
  return { headers, body: { ...fields, stream: true, messages } };
}

/** The headers that follow from the config alone. */
export function headersOf(config: Config): Headers {
  return partsOf(config).headers;
}

/** What follows from a config alone. */
interface ConfigParts {
  /** The keys that add something to a body, each with its value. */
  readonly bodies: readonly (readonly [ConfigEntry, unknown])[];
  readonly headers: Headers;
}

/** Worked out once for each config, since it costs a request as much as all that follows from the request. */
const parts = new WeakMap<Config, ConfigParts>();

function partsOf(config: Config): ConfigParts {
  let known = parts.get(config);
  if (!known) {
    const keys = keysOf(config);
    const bodies = keys.filter(([entry]) => 'body' in entry);
    known = { bodies, headers: headersFrom(keys, config.betas ?? []) };
    parts.set(config, known);
  }
  return known;
}

function headersFrom(keys: ReturnType<typeof keysOf>, listed: readonly string[]): Headers {
  const headers = keys.map(([entry, value]) => entry.headers?.(value));
  const needed = keys.flatMap(([entry, value]) => entry.betas?.(value) ?? []);
  // The operator may know a newer beta than this table.
  const betas = [...needed.filter((name) => !listed.some((other) => familyOf(other) === familyOf(name))), ...listed];
  return Object.assign(
    { 'anthropic-version': version },
    ...headers,
    betas.length === 0 ? {} : { [betaHeader]: joinedBetas(betas) },
  );
}

/** `mcp-client-2025-11-20` without its date. */
function familyOf(beta: string): string {
  return beta.replace(/-\d{4}-\d{2}-\d{2}$/, '');
}

/** Two keys may each write a part of one object. */
function joined(before: unknown, added: unknown): unknown {
  return isObject(before) && isObject(added) ? { ...before, ...added } : added;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const entries = Object.entries<ConfigEntry>(configKeys).map(
  ([key, entry]) => [entry.resolvedName ?? camelCasedName(key), entry] as const,
);

/** The keys that the config sets, each with its value. */
function keysOf(config: Config): readonly (readonly [ConfigEntry, unknown])[] {
  return entries.flatMap(([name, entry]) => {
    const value = config[name as keyof Config];
    return value === undefined ? [] : [[entry, value] as const];
  });
}
