/**
 * Configs as people write them in TypeScript: the type of a config and `defineConfigs`. Loads nothing, since every
 * reload of a config file compiles this module anew. The types hand on names and variables, never a prompt.
 */
import type { VariablesIn } from './configs/prompt.ts';

/** What the compiler prints where it would say `never`. Nothing can be given for it. */
export interface Expected<What extends string> {
  readonly [expected]: What;
}

declare const expected: unique symbol;

/** A system prompt: the text itself, or a file with the text. */
export type PromptInput = string | PromptFileInput;

export interface PromptFileInput {
  /**
   * At most 1 MiB of UTF-8 text. The path is relative to the config file, or to the option `promptFolder` where the configs
   * are given to `createLlmRouter`.
   */
  readonly file: string;
  /** The `{{variables}}` of the text, all of them, for the types of clients; at start-up the text is held against it. */
  readonly variables?: readonly string[];
}

/** An inferred type takes any key; this is what makes a misspelt one in a literal an error. */
export type NoOtherKeys<P> = P extends string
  ? unknown
  : {
      readonly [
        Key in Exclude<keyof P, keyof PromptFileInput>
      ]: Expected<`file or variables, and no key ${Key & string}`>;
    };

/** One config as `defineConfigs` and config files take it. All `_ms` are milliseconds. */
export interface ConfigInput<SystemPrompt extends PromptInput = PromptInput, OtherName = string> {
  /** Upstream's id of the model. */
  readonly model: string;
  /** Tokens of the answer; a model that thinks spends its thinking's from them too. */
  readonly max_tokens: number;
  /** What the model is told before the conversation; `{{name}}` in it is a variable. Empty: nothing is sent. */
  readonly system_prompt: SystemPrompt & NoOtherKeys<SystemPrompt>;
  /** What the config is for. Clients can read it. */
  readonly description?: string;
  /** 0 to 1. Models from 4.7 on refuse it. */
  readonly temperature?: number;
  /** 0 to 1. Models from 4.7 on refuse it. */
  readonly top_p?: number;
  /** Models from 4.7 on refuse it. */
  readonly top_k?: number;
  readonly stop_sequences?: readonly string[];
  /** Unset: upstream's default for the model, hidden from clients. */
  readonly thinking?: {
    readonly type?: 'adaptive' | 'enabled' | 'disabled';
    /** Tokens, from 1024 and less than `max_tokens`; goes with `enabled`, and only there. */
    readonly budget_tokens?: number;
    /** Whether clients get to see it; false by default. */
    readonly show?: boolean;
  };
  /** Another server that speaks the Messages API. `ANTHROPIC_API_KEY` is never sent to it: see `api_key_env`. */
  readonly base_url?: string;
  /** Where the Messages API stands below the base URL, with a query if need be; `/v1/messages` by default. */
  readonly messages_path?: string;
  /** The name of the environment variable that holds this config's key. */
  readonly api_key_env?: string;
  /** The header that carries the key; `authorization`, as a bearer token, by default. */
  readonly api_key_header?: 'authorization' | 'x-api-key';
  /** Headers to send with each request: a literal where the value is no secret, else the variable that holds it. */
  readonly headers?: Readonly<Record<string, string | { readonly env: string }>>;
  /** Lets upstream cache the prompt; false by default. */
  readonly cache_prompt?: boolean;
  /** When the last viewer is lost: cancel after a grace time (15,000), or run to the end. */
  readonly on_disconnect?: 'continue' | { readonly cancel_after_ms: number };
  readonly timeouts?: {
    /** To the first byte of upstream's answer; 60,000 by default. */
    readonly first_byte_ms?: number;
    /** Between two events of upstream; 120,000 by default. */
    readonly idle_ms?: number;
    /** For the whole generation, retries and fallback included; 600,000 by default. */
    readonly total_ms?: number;
  };
  /** Only before the first output. */
  readonly retries?: {
    /** 2 by default; 0 for none. */
    readonly max?: number;
    /** From the first attempt on; no retry begins later. 20,000 by default. */
    readonly total_ms?: number;
  };
  /** The config that answers if this one fails before its first output. Its variables must be among this one's. */
  readonly fallback?: OtherName;
  /** US dollars per million tokens, in place of the built-in table's. */
  readonly price?: {
    readonly input: number;
    readonly output: number;
    readonly cache_write: number;
    readonly cache_read: number;
  };
}

/** Registered, so that a config file and the service find the same one where each has its own copy of this module. */
const definition: unique symbol = Symbol.for('llm-service.configs');

/**
 * Configs as they were defined. The type holds each config's name and its prompt's variables and nothing else, so that
 * no declaration file can carry a prompt to a client.
 */
export interface Configs<Variables extends Record<string, string>> {
  readonly [definition]: { readonly raw: unknown; readonly variables?: Variables };
}

/** The names of the configs: literal types, or `string` where they are only known at run time. */
export type ConfigNames<C> = C extends Configs<infer Variables> ? keyof Variables & string : never;

/** The union of the prompt variables of one config; `never` if it has none, `string` where they are not known. */
export type VariablesOf<C, Name extends ConfigNames<C>> = C extends Configs<infer Variables> ? Variables[Name] : never;

export type VariablesOfPrompt<P extends PromptInput> = P extends string
  ? VariablesIn<P>
  : P extends { readonly variables: readonly (infer Variable extends string)[] }
    ? Variable
    : string;

export type OtherNames<Names, Name> = string extends Names
  ? string
  : [Exclude<Names, Name>] extends [never]
    ? Expected<'the name of another config, and there is none'>
    : Exclude<Names & string, Name>;

/**
 * Defines the configs that a deployment serves; the default export of a config file. Only types are checked here:
 * the service and `createLlmRouter` judge the rest when they start.
 *
 * A prompt written as one literal gives its `{{variables}}` to the client's types. For a concatenated text these are
 * any `string`; so they are for a file, unless `variables` lists them.
 */
export function defineConfigs<const Prompts extends Record<string, PromptInput>>(configs: {
  readonly [Name in keyof Prompts]: ConfigInput<Prompts[Name], NoInfer<OtherNames<keyof Prompts, Name>>>;
}): Configs<{ -readonly [Name in keyof Prompts]: VariablesOfPrompt<Prompts[Name]> }> {
  // Not enumerable, lest a stray console.log print the prompts.
  return Object.defineProperty({} as ReturnType<typeof defineConfigs<Prompts>>, definition, {
    value: { raw: configs },
  });
}

/** What `defineConfigs` was given, where the value is its result; else the value itself. */
export function definedIn(value: unknown): unknown {
  return typeof value === 'object' && value !== null && definition in value
    ? (value as Configs<Record<string, string>>)[definition].raw
    : value;
}
