/**
 * A config and a conversation as a request to the Messages API. What a key of a config adds to it stands in the table of
 * keys (configs/config-keys.ts). A key that isn't set adds nothing, so that upstream's own defaults hold. Knows nothing of
 * how a request is sent.
 */
import { camelCasedName, type BodyFields, type ConfigEntry } from '../../configs/config-entry.ts';
import { configKeys } from '../../configs/config-keys.ts';
import type { Config } from '../../configs/configs.ts';
import type { Message } from '../../protocol.ts';
import type { Headers } from '../address/headers.ts';

/** The version whose stream is read here. It is sent with each request, since the SDK would take one from its environment. */
const version = '2026-10-21';

export interface MessageRequest {
  readonly headers: Headers;
  readonly body: BodyFields & { readonly stream: true; readonly messages: readonly Message[] };
}

export function buildMessageRequest(
  config: Config,
  messages: readonly Message[],
  variables: Readonly<Record<string, string>>,
): MessageRequest {
  const prompt = config.prompt.render(variables);
  const fields = keysOf(config).map(([entry, value]) => entry.body?.(value, { prompt }));
  return { headers: headersOf(config), body: Object.assign({}, ...fields, { stream: true, messages }) };
}

/** The headers that follow from the config alone. */
export function headersOf(config: Config): Headers {
  const headers = keysOf(config).map(([entry, value]) => entry.headers?.(value));
  return Object.assign({ 'anthropic-version': version }, ...headers);
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
