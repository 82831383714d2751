/**
 * Configs as people write them in TypeScript: `defineConfigs` with its types, and the helpers for tools. Loads nothing but those
 * helpers, since every reload of a config file compiles this module anew. The types pass on the names of configs and variables,
 * and what tools and outputs look like; never a prompt, a description or a function.
 */
import type { ConfigInput, PromptInput } from './configs/config-input.ts';
import type { Expected } from './configs/expected.ts';
import type { VariablesIn } from './configs/prompt.ts';
import type { Schema, Tool, ToolTypes } from './tools/tool.ts';

export { clientTool, tool, ToolError } from './tools/tool.ts';
export type {
  AnyTool,
  ClientToolDefinition,
  Schema,
  ServerTool,
  ServiceToolDefinition,
  Tool,
  ToolContext,
  ToolDefinition,
  ToolsInput,
  ToolTypes,
} from './tools/tool.ts';
export type { ConfigInput, PromptFileInput, PromptInput } from './configs/config-input.ts';
export type { Expected, NoOtherKeys } from './configs/expected.ts';
export type { VariablesIn } from './configs/prompt.ts';

/** A registered symbol, so that a config file and the service share it where each has its own copy of this module. */
const definition: unique symbol = Symbol.for('llm-service.configs');

/**
 * What `defineConfigs` returns. The type holds the name of each config, the variables of its prompt, and the types of its tools
 * and of its output; nothing else, so that no declaration file can carry a prompt to a client. The names of keys and the values
 * of enums in schemas are public.
 */
export interface Configs<Variables extends Record<string, string>, Tools extends ToolsByConfig = {}, Outputs = {}> {
  /** What `definedIn` reads. Not enumerable. */
  readonly [definition]: {
    /** The map as it was written. */
    readonly raw: unknown;
    /** Never set: the place of the type. */
    readonly variables?: Variables;
    /** Never set: the place of the type. */
    readonly tools?: Tools;
    /** Never set: the place of the type. */
    readonly outputs?: Outputs;
  };
}

/** The types of tools, by config and by tool. Has only the configs that declare tools. */
export type ToolsByConfig = Record<string, Record<string, ToolTypes>>;

/** The names of the configs: literal types, or `string` if they are known only at run time. */
export type ConfigNames<C> =
  C extends Configs<infer Variables, ToolsByConfig, unknown> ? keyof Variables & string : never;

/** The variables of one config's prompt, as a union: `never` where it has none, `string` where the compiler can't know them. */
export type VariablesOf<C, Name extends ConfigNames<C>> =
  C extends Configs<infer Variables, ToolsByConfig, unknown> ? Variables[Name] : never;

/** The types of one config's tools, by the tool's name: `{}` where it has none. Tools that upstream executes are not among them. */
export type ToolsOf<C, Name extends ConfigNames<C>> =
  C extends Configs<infer Variables, infer Tools, unknown>
    ? string extends keyof Variables
      ? Record<string, ToolTypes>
      : Name extends keyof Tools
        ? Tools[Name]
        : {}
    : never;

/**
 * The object that one config answers with: `undefined` where it has no `output`, `unknown` where the compiler can't know it. It
 * is what the schema takes, since a client gets the JSON as the model wrote it.
 */
export type OutputOf<C, Name extends ConfigNames<C>> =
  C extends Configs<infer Variables, ToolsByConfig, infer Outputs>
    ? string extends keyof Variables
      ? unknown
      : Name extends keyof Outputs
        ? Outputs[Name]
        : undefined
    : never;

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

/** The types of one tool as written; `never` for one that upstream executes. */
export type TypesOfTool<One> =
  One extends Tool<infer Input, infer Output, infer By>
    ? { input: Input; output: Output; by: By }
    : One extends { readonly type: ClientRunType }
      ? { input: unknown; output: unknown; by: 'client' }
      : never;

/** The types of those tools of upstream that the client executes: upstream knows their schemas, and the model calls them. */
export type ClientRunType = `${'bash' | 'computer' | 'memory' | 'text_editor'}_${string}`;

/** What a schema takes. */
export type TakenBy<Written> = Written extends Schema<infer Input> ? Input : unknown;

/** The keys of a config. They stand beside each type that is inferred, so that the compiler suggests one for a misspelt key. */
export type ConfigKeys = { readonly [Key in keyof ConfigInput]?: unknown };

/**
 * Defines the configs that a deployment serves. A config file exports the result as its default. This function checks types
 * only; the service and `createLlmRouter` judge the values when they start.
 *
 * Where a prompt is one literal, the types of clients know its `{{variables}}`. For a concatenated text they take any `string`
 * as a variable's name, and for a file too unless `variables` lists the names.
 */
// `Tools` and `Outputs` have no constraint: with one, the compiler would infer an index signature in place of the names. What it makes
// of them is written here and under no name: it would print a name with all that was inferred, so with the fields of upstream's tools.
export function defineConfigs<const Prompts extends Record<string, PromptInput>, Tools, Outputs>(
  configs: {
    readonly [Name in keyof Prompts]: ConfigInput<Prompts[Name], NoInfer<OtherNames<keyof Prompts, Name>>>;
  } & { readonly [Name in keyof Tools]: ConfigKeys & { readonly tools?: Tools[Name] } } & {
    readonly [Name in keyof Outputs]: ConfigKeys & { readonly output?: Outputs[Name] };
  },
): Configs<
  { -readonly [Name in keyof Prompts]: VariablesOfPrompt<Prompts[Name]> },
  {
    -readonly [Name in keyof Tools as unknown extends Tools[Name] ? never : Name]: {
      -readonly [
        Each in keyof Tools[Name] as [TypesOfTool<Tools[Name][Each]>] extends [never] ? never : Each
      ]: TypesOfTool<Tools[Name][Each]>;
    };
  },
  { -readonly [Name in keyof Outputs as unknown extends Outputs[Name] ? never : Name]: TakenBy<Outputs[Name]> }
> {
  // Not enumerable, so that a console.log of the configs prints no prompt.
  return Object.defineProperty({}, definition, { value: { raw: configs } }) as ReturnType<
    typeof defineConfigs<Prompts, Tools, Outputs>
  >;
}

/** The map that `defineConfigs` was given, where the value is its result. Any other value is returned unchanged. */
export function definedIn(value: unknown): unknown {
  return typeof value === 'object' && value !== null && definition in value
    ? (value as Configs<Record<string, string>>)[definition].raw
    : value;
}
