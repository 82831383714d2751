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
  let fields: BodyFields = {};
  for (const [entry, value] of keysOf(config)) {
    if (entry.body) fields = merged(fields, entry.body(value, { config: values, prompt, fields, userId, secret }));
  }
  return { headers: headersOf(config), body: { ...fields, stream: true, messages } };
}

/** The headers that follow from the config alone. */
export function headersOf(config: Config): Headers {
  const keys = keysOf(config);
  const headers = keys.map(([entry, value]) => entry.headers?.(value));
  const needed = keys.flatMap(([entry, value]) => entry.betas?.(value) ?? []);
  const listed = config.betas ?? [];
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
function merged(fields: BodyFields, added: BodyFields): BodyFields {
  const both = Object.entries(added).map(([name, value]) => {
    const before = fields[name];
    return [name, isObject(before) && isObject(value) ? { ...before, ...value } : value] as const;
  });
  return { ...fields, ...Object.fromEntries(both) };
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
