/**
 * Makes the configs that the service uses of those that were written: judges all of them together and links the fallbacks.
 * Reads no file. A `Config` can't be changed, so that a running generation keeps the one that it began with, and only
 * `render` gives out a prompt.
 */
import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { camelCased, camelCasedName, type CamelCasedName, type ConfigEntry } from './config-entry.ts';
import { combinationProblems } from './config-combinations.ts';
import { fallbackProblems, shapeKeys, type WrittenConfig } from './config-fallbacks.ts';
import { variableProblem, variablesOf } from './config-environment.ts';
import { configKeys } from './config-keys.ts';
import { configSchema, namePattern, problemsInConfig, schemaKey, type SoundConfig } from './config-schema.ts';
import { warningsOf } from './config-warnings.ts';
import { definedIn } from '../define-configs.ts';
import { LlmError } from '../errors.ts';
import { describeValue, ProblemsError, quote, suggestion, type Problem } from '../settings/problems.ts';
import { formatPath, type ConfigSummary, type InputIssue } from '../protocol.ts';
import { createPrompt, type Prompt } from './prompt.ts';

export {
  defineConfigs,
  type ClientRunType,
  type ConfigInput,
  type ConfigKeys,
  type ConfigNames,
  type Configs,
  type Expected,
  type NoOtherKeys,
  type OtherNames,
  type OutputOf,
  type PromptFileInput,
  type PromptInput,
  type TakenBy,
  type ToolsByConfig,
  type ToolsOf,
  type TypesOfTool,
  type VariablesIn,
  type VariablesOf,
  type VariablesOfPrompt,
} from '../define-configs.ts';

// --------------------------------------------------------------------------------------------------------- resolved

type Keys = Omit<typeof configKeys, 'system_prompt' | 'fallback'>;

/** The values of a config's keys, with their names in camelCase. */
type ConfigValues = {
  readonly [Key in keyof Keys as CamelCasedName<Key>]: Keys[Key] extends ConfigEntry<infer Rule, infer Value>
    ? Value | (undefined extends z.output<Rule> ? undefined : never)
    : never;
};

/** One config, sound and complete. Nothing in it can be changed. A key that isn't set and has no default is absent. */
export interface Config extends ConfigValues {
  readonly name: string;
  readonly prompt: Prompt;
  /** The config that takes over. One that falls back on itself, over others too, is refused. */
  readonly fallback?: Config;
  /** 12 hex digits that change with anything in the config, its prompt's text included; with a fallback's name, not its content. */
  readonly hash: string;
}

/** All configs as they stood at one moment. */
export interface ConfigSnapshot {
  /** In the order in which they were written; those that only `LLM_CONFIGS` has come last. */
  readonly names: readonly string[];
  /** What is served and most likely not meant: see config-warnings.ts. */
  readonly warnings: readonly Problem[];
  get(name: string): Config | undefined;
  /** What clients may know of each config. */
  summaries(): ConfigSummary[];
}

/** The configs are not valid, and can't be served. */
export class ConfigError extends ProblemsError {
  override readonly name = 'ConfigError';
}

/** Where configs come from, and how their files and variables are found. */
export interface ConfigSource {
  /** The name of the config file, for the message. */
  readonly file?: string;
  /** `LLM_CONFIGS`: a second map, whose configs replace those of the same name. */
  readonly overrides?: unknown;
  /** Reads a prompt file. Throws an Error whose message says what was found instead. Absent: no config may have a prompt file. */
  readonly readPrompt?: (file: string) => string;
  /** The environment in which the variables that the configs name must be set. Absent: they are not looked up. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/**
 * Makes configs of what was written: a `defineConfigs` result, or a map from config name to config.
 *
 * @throws ConfigError with every problem that was found.
 */
export function parseConfigs(written: unknown, source: ConfigSource = {}): ConfigSnapshot {
  const problems: Problem[] = [];
  const entries = new Map([
    ...entriesOf(written, [], problems),
    ...entriesOf(source.overrides ?? {}, ['LLM_CONFIGS'], problems),
  ]);
  if (entries.size + problems.length === 0)
    problems.push({ path: '', message: 'expected at least one config, found none' });

  const drafts = new Map<string, Draft>();
  for (const [name, entry] of entries) {
    const draft = draftOf(entry, source, problems);
    if (draft) drafts.set(name, draft);
  }
  const warnings = [...drafts.values()].flatMap((draft) => draft.warnings);
  const factsOf = (name: string) => drafts.get(name);
  for (const name of entries.keys()) problems.push(...fallbackProblems(name, entries, factsOf));
  if (problems.length > 0) throw new ConfigError(headline(source), problems);

  const configs = new Map<string, Config>();
  for (const name of drafts.keys()) resolve(name, drafts, configs);
  return Object.freeze({
    names: Object.freeze([...entries.keys()]),
    warnings,
    get: (name: string) => configs.get(name),
    summaries: () => [...entries.keys()].map((name) => summaryOf(configs.get(name)!)),
  });
}

function headline({ file, overrides }: ConfigSource): string {
  if (overrides !== undefined) return `${file ?? 'the configs'} and LLM_CONFIGS are not valid together:`;
  return file === undefined ? 'the configs are not valid:' : `${file} is not a valid config file:`;
}

// ---------------------------------------------------------------------------------------------------------- judging

/** A config that is valid by itself; its fallback isn't judged yet. */
interface Draft {
  readonly sound: SoundConfig;
  readonly prompt: Prompt;
  /** What clients can get of an answer: the schemas of output and tools, as text. */
  readonly shape: Readonly<Record<(typeof shapeKeys)[number], string>>;
  readonly hash: string;
  readonly warnings: readonly Problem[];
}

function entriesOf(written: unknown, path: readonly PropertyKey[], problems: Problem[]): [string, WrittenConfig][] {
  const map = definedIn(written);
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    const found = typeof map === 'string' ? 'text' : describeValue(map);
    problems.push({ path: formatPath(path), message: `expected a map from config name to config, found ${found}` });
    return [];
  }
  return Object.entries(map).flatMap(([name, value]): [string, WrittenConfig][] => {
    if (name === schemaKey && typeof value === 'string') return [];
    if (namePattern.test(name) && !(name in Object.prototype)) return [[name, { path: [...path, name], value }]];
    const expected = 'a name of 1 to 64 letters, digits, "_", "-" and ".", that no JavaScript object has by itself';
    problems.push({ path: formatPath(path), message: `expected ${expected}, found ${quote(name)}` });
    return [];
  });
}

function draftOf({ path, value }: WrittenConfig, source: ConfigSource, problems: Problem[]): Draft | undefined {
  const result = configSchema.safeParse(value);
  const own = result.success ? [] : problemsInConfig(result.error, value, path);
  const problem = (key: string, message: string) => own.push({ path: formatPath([...path, key]), message });
  // Looked up also where other keys are wrong, so that an operator sees all problems at once.
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Readonly<Record<string, unknown>>;
  const writtenPrompt = configKeys.system_prompt.rule.safeParse(fields['system_prompt']).data;
  for (const [key, name] of variablesOf(fields)) {
    const message = source.env && variableProblem(source.env, name);
    if (message !== undefined) own.push({ path: formatPath([...path, ...key]), message });
  }
  let text: string | undefined;
  try {
    if (writtenPrompt !== undefined) text = promptText(writtenPrompt, source);
  } catch (thrown) {
    problem('system_prompt', thrown instanceof Error ? thrown.message : 'expected a file that can be read');
  }
  const prompt = createPrompt(text ?? '');
  if (text !== undefined) {
    for (const message of variableProblems(prompt.variables, writtenPrompt!)) problem('system_prompt', message);
  }
  for (const { path: key, message } of result.success ? combinationProblems(result.data, value) : []) {
    own.push({ path: formatPath([...path, ...key]), message });
  }
  problems.push(...own);
  if (!result.success || text === undefined) return undefined;
  const sound = result.data;
  // Where there is no environment to look at, nobody knows which server is asked.
  const toAnthropic = source.env !== undefined && !source.env['ANTHROPIC_BASE_URL'];
  const warnings = warningsOf({ sound, written: value, promptText: text, toAnthropic });
  return {
    sound,
    prompt,
    shape: shapeOf(sound),
    hash: hashOf({ ...sound, system_prompt: text }),
    warnings: warnings.map((warning) => ({ ...warning, path: `${formatPath(path)}.${warning.path}` })),
  };
}

function promptText(written: SoundConfig['system_prompt'], { readPrompt }: ConfigSource): string {
  if (typeof written === 'string') return written;
  if (!readPrompt)
    throw new Error(
      'expected text, found a file; set the option promptFolder, the folder that its path is relative to',
    );
  return readPrompt(written.file);
}

function variableProblems(used: readonly string[], written: SoundConfig['system_prompt']): string[] {
  const listed = typeof written === 'string' ? used : (written.variables ?? used);
  return [
    ...used.filter((name) => name === '__proto__').map(() => 'expected other variables than "__proto__"'),
    ...used
      .filter((name) => !listed.includes(name))
      .map((name) => `expected ${quote(name)} in variables, since the file uses it`),
    ...listed
      .filter((name) => !used.includes(name))
      .map((name) => `expected only variables that the file uses, found ${quote(name)}${suggestion(name, used)}`),
  ];
}

function shapeOf(sound: Readonly<Record<string, unknown>>): Draft['shape'] {
  const [output, tools] = shapeKeys.map((key) => canonicalJson(sound[key] ?? null));
  return { output: output!, tools: tools! };
}

function hashOf(effective: object): string {
  return createHash('sha256').update(canonicalJson(effective)).digest('hex').slice(0, 12);
}

/** The same text for values whose keys only stand in another order. A schema is in it as JSON Schema. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}

// ---------------------------------------------------------------------------------------- building configs from drafts

/** Builds the config after those it falls back on, once. */
function resolve(name: string, drafts: ReadonlyMap<string, Draft>, configs: Map<string, Config>): Config {
  const built = configs.get(name);
  if (built) return built;
  const { sound, prompt, hash } = drafts.get(name)!;
  const { system_prompt: _, fallback, ...keys } = sound;
  const values = Object.entries(keys).map(([key, value]) => [camelCasedName(key), resolvedValue(key, value)] as const);
  const config = {
    name,
    prompt,
    ...Object.fromEntries(values.filter(([, value]) => value !== undefined)),
    ...(fallback === undefined ? {} : { fallback: resolve(fallback, drafts, configs) }),
    hash,
  } as Config;
  configs.set(name, deepFreeze(config));
  return config;
}

function resolvedValue(key: string, value: unknown): unknown {
  if (value === undefined) return undefined;
  const entry: ConfigEntry = configKeys[key as keyof typeof configKeys];
  return entry.resolve ? entry.resolve(value) : camelCased(value);
}

function summaryOf({ name, description, model, maxTokens, temperature, prompt, tools }: Config): ConfigSummary {
  const clientTools = tools?.clientTools ?? [];
  return {
    name,
    model,
    maxTokens,
    variables: [...prompt.variables],
    ...(description === undefined ? {} : { description }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(clientTools.length === 0 ? {} : { clientTools }),
  };
}

/** Freezes objects and lists at every level. An object of a class keeps its own state: schemas, for one, can't be frozen. */
function deepFreeze<T>(value: T): T {
  if (Array.isArray(value) || (typeof value === 'object' && value !== null && isPlain(value))) {
    Object.values(Object.freeze(value)).forEach(deepFreeze);
  }
  return value;
}

function isPlain(value: object): boolean {
  return Object.getPrototypeOf(value) === Object.prototype;
}

// -------------------------------------------------------------------------------------------------------- variables

/**
 * Compares a request's variables with those of the config's prompt.
 *
 * @throws LlmError `invalid_input` with an issue for each that is missing or unknown.
 */
export function checkVariables(config: Pick<Config, 'prompt'>, variables: Readonly<Record<string, string>>): void {
  const known = config.prompt.variables;
  const issue = (name: string, message: string): InputIssue => ({ path: variablePath(name), message });
  const missing = known.filter((name) => !Object.hasOwn(variables, name));
  const unknown = Object.keys(variables).filter((name) => !known.includes(name));
  const issues = [
    ...missing.map((name) => issue(name, 'missing; the prompt of this config needs it')),
    ...unknown.map((name) => issue(name, `unknown to this config${suggestion(name, missing)}`)),
  ];
  if (issues.length > 0) throw LlmError.invalidInput(issues);
}

/** The path of a variable. A client may send a name of any length, so it is cut. */
function variablePath(name: string): string {
  return formatPath(['variables', name.length > 100 ? `${name.slice(0, 100)}…` : name]);
}
