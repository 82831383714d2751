/**
 * What the table of config keys says of one key, and how a value of a config file becomes one of the service's. Knows no key.
 */
import type { z } from 'zod';
import type { Headers } from '../upstream/address/headers.ts';

/** Fields of a request's body, by their names in the Messages API. */
export type BodyFields = Readonly<Record<string, unknown>>;

/** A name of the environment, and where in a key's value it stands. */
export type NamedVariable = readonly [path: readonly PropertyKey[], name: string];

/** What a key may look at beside its own value when a request is built. */
export interface RequestParts {
  /** The config: its values by their names in a `Config`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The system prompt, with the values of its variables. */
  readonly prompt: string;
  /** What the keys before this one have added. */
  readonly fields: BodyFields;
  /** Stands for the caller at upstream, who can't be recognized by it. */
  readonly userId: () => string;
  /** The value of an environment variable that the config names; undefined where it isn't set. */
  readonly secret: (variable: string) => string | undefined;
}

export interface ConfigEntry<Rule extends z.ZodType = z.ZodType, Value = unknown> {
  /** Judges what was written, and fills in the default. The keys within an object have their own rules, described there. */
  readonly rule: Rule;
  /** Sentences for README, the JSON Schema and the editor of whoever writes a config. */
  readonly meaning: string;
  /** The TypeScript type for `defineConfigs`, where it depends on the other configs and the rule can't say it. */
  readonly type?: string;
  /** Set where a text within the value may hold a prompt, a key or an address with a key in it. No problem quotes such a text. */
  readonly secret?: true;
  /** The name of the value in a `Config`. Unless given: the key in camelCase. */
  readonly resolvedName?: string;
  /** The environment variables that the value names. They must be set when the configs are loaded. */
  variables?(written: Present<z.output<Rule>>): readonly NamedVariable[];
  /** The value as a `Config` holds it. Unless given: the same value, with its keys in camelCase. */
  resolve?(written: Present<z.output<Rule>>): Value;
  /** README's words for the kind of value, where the rule can't say it. */
  readonly kind?: string;
  /** The fields of a request's body that belong to the key, set or not: `extra` must not set them. A dot leads into an object. */
  readonly owns?: readonly string[];
  /**
   * The fields that the value adds to a request's body. Unless given it adds none. Objects of one name are merged; of all
   * other values the last one holds.
   */
  body?(value: Present<Value>, request: RequestParts): BodyFields;
  /** The betas of the API that the value needs. They are sent in the header `anthropic-beta`. */
  betas?(value: Present<Value>): readonly string[];
  /** The headers that the value adds to a request, over those that every request has. */
  headers?(value: Present<Value>): Headers;
}

type Present<Value> = Exclude<Value, undefined>;

/** An entry of the table. Its type keeps the rule's, and with it the type of the value. */
export function entry<const Rule extends z.ZodType, Value = CamelCased<z.output<Rule>>>(
  rule: Rule,
  facts: Omit<ConfigEntry<Rule, Value>, 'rule'>,
): ConfigEntry<Rule, Value> {
  return { rule, ...facts };
}

// -------------------------------------------------------------------------------------------------------- camelCase

export type CamelCasedName<Name> = Name extends `${infer First}_${infer Others}`
  ? `${First}${Capitalize<CamelCasedName<Others>>}`
  : Name;

/** A value with all of its keys in camelCase. */
export type CamelCased<Value> = Value extends readonly (infer Item)[]
  ? readonly CamelCased<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value as CamelCasedName<Key>]: CamelCased<Value[Key]> }
    : Value;

/** `max_tokens` as `maxTokens`. */
export function camelCasedName(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** A copy whose keys are in camelCase at every level. Keys without a value are left out. Not for values whose keys somebody else chose. */
export function camelCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCased);
  if (typeof value !== 'object' || value === null) return value;
  const present = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(present.map(([name, each]) => [camelCasedName(name), camelCased(each)]));
}
