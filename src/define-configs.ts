/**
 * Configs as people write them in TypeScript: `defineConfigs` and its types. Imports types only, since every reload of a
 * config file compiles this module anew. The types pass on the names of configs and variables, and never a prompt.
 */
import type { ConfigInput, PromptInput } from './configs/config-input.ts';
import type { Expected } from './configs/expected.ts';
import type { VariablesIn } from './configs/prompt.ts';

export type { ConfigInput, PromptFileInput, PromptInput } from './configs/config-input.ts';
export type { Expected, NoOtherKeys } from './configs/expected.ts';
export type { VariablesIn } from './configs/prompt.ts';

/** A registered symbol, so that a config file and the service share it where each has its own copy of this module. */
const definition: unique symbol = Symbol.for('llm-service.configs');

/**
 * What `defineConfigs` returns. The type holds the name of each config and the variables of its prompt, and nothing else, so
 * that no declaration file can carry a prompt to a client.
 */
export interface Configs<Variables extends Record<string, string>> {
  /** What `definedIn` reads. Not enumerable. */
  readonly [definition]: {
    /** The map as it was written. */
    readonly raw: unknown;
    /** Never set: the place of the type. */
    readonly variables?: Variables;
  };
}

/** The names of the configs: literal types, or `string` if they are known only at run time. */
export type ConfigNames<C> = C extends Configs<infer Variables> ? keyof Variables & string : never;

/** The variables of one config's prompt, as a union: `never` where it has none, `string` where the compiler can't know them. */
export type VariablesOf<C, Name extends ConfigNames<C>> = C extends Configs<infer Variables> ? Variables[Name] : never;

/** The variables of one prompt as written: `never` if it has none, `string` where the compiler can't know them. */
export type VariablesOfPrompt<P extends PromptInput> = P extends string
  ? VariablesIn<P>
  : P extends { readonly variables: readonly (infer Variable extends string)[] }
    ? Variable
    : string;

/** The names that a config's `fallback` may have: those of the other configs. */
export type OtherNames<Names, Name> = string extends Names
  ? string
  : [Exclude<Names, Name>] extends [never]
    ? Expected<'the name of another config, and there is none'>
    : Exclude<Names & string, Name>;

/**
 * Defines the configs that a deployment serves. A config file exports the result as its default. This function checks types
 * only; the service and `createLlmRouter` judge the values when they start.
 *
 * Where a prompt is one literal, the types of clients know its `{{variables}}`. For a concatenated text they take any `string`
 * as a variable's name, and for a file too unless `variables` lists the names.
 */
export function defineConfigs<const Prompts extends Record<string, PromptInput>>(configs: {
  readonly [Name in keyof Prompts]: ConfigInput<Prompts[Name], NoInfer<OtherNames<keyof Prompts, Name>>>;
}): Configs<{ -readonly [Name in keyof Prompts]: VariablesOfPrompt<Prompts[Name]> }> {
  // Not enumerable, so that a console.log of the configs prints no prompt.
  return Object.defineProperty({} as ReturnType<typeof defineConfigs<Prompts>>, definition, {
    value: { raw: configs },
  });
}

/** The map that `defineConfigs` was given, where the value is its result. Any other value is returned unchanged. */
export function definedIn(value: unknown): unknown {
  return typeof value === 'object' && value !== null && definition in value
    ? (value as Configs<Record<string, string>>)[definition].raw
    : value;
}
