/**
 * The format of one config, made from the table of keys: the schema that judges it at run time, and the same as JSON Schema
 * for editors. Knows neither files nor other configs.
 */
import { z } from 'zod';
import type { Problem } from '../settings/problems.ts';
import { closed, problemsIn } from '../settings/rules.ts';
import type { ConfigEntry } from './config-entry.ts';
import { configKeys } from './config-keys.ts';

type Keys = typeof configKeys;

const entries: readonly (readonly [key: string, entry: ConfigEntry])[] = Object.entries(configKeys);

const shape = Object.fromEntries(entries.map(([key, { rule, meaning }]) => [key, rule.describe(meaning)])) as {
  readonly [Key in keyof Keys]: Keys[Key]['rule'];
};

/** Its output is what configs.ts resolves: keys as in the file, defaults filled in. */
export const configSchema = closed(shape)
  // What one key says of another.
  .refine(({ thinking, max_tokens }) => thinking?.budget_tokens === undefined || thinking.budget_tokens < max_tokens, {
    path: ['thinking', 'budget_tokens'],
    error: 'fewer tokens than max_tokens',
  });
export type SoundConfig = z.output<typeof configSchema>;

const secretKeys: ReadonlySet<PropertyKey> = new Set(entries.flatMap(([key, { secret }]) => (secret ? [key] : [])));

/** All that `configSchema` found wrong with a config, which `path` leads to. A config that is no object may be a prompt. */
export function problemsInConfig(error: z.core.$ZodError, value: unknown, path: readonly PropertyKey[]): Problem[] {
  return problemsIn(error, value, path, ([key]) => key === undefined || secretKeys.has(key));
}

/** Names stand in URLs and in label values, and are looked up where `constructor` must not be found by chance. */
export const namePattern = /^(?!\.+$)[A-Za-z0-9_.-]{1,64}$/;

/** Where a JSON or YAML file names its schema, beside its configs. */
export const schemaKey = '$schema';

/**
 * The JSON Schema of config files, for editors: a map from config name to config. Draft 7, since every editor knows it. It
 * refuses less than `parseConfigs` does: it can't say what one key demands of another, nor check files, fallbacks and the
 * environment.
 */
export function configFileJsonSchema(): object {
  const { $schema, ...config } = z.toJSONSchema(configSchema, { target: 'draft-7', io: 'input' });
  return {
    $schema,
    title: 'Config file of llm-service',
    description: 'A map from config name to config.',
    type: 'object',
    properties: { [schemaKey]: { type: 'string' } },
    patternProperties: { [namePattern.source]: config },
    additionalProperties: false,
  };
}
