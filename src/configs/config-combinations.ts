/**
 * What one key of a config forbids another: combinations that upstream refuses with every model, and fields that two keys would
 * write. Each is a problem at the key that has to change.
 */
import { configKeys } from './config-keys.ts';
import type { ConfigEntry } from './config-entry.ts';
import { isAtLeast, versionOf } from './config-models.ts';
import type { SoundConfig } from './config-schema.ts';

/** Where something is wrong within a config, and the whole sentence. */
export interface CombinationProblem {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** All of them in one config. @param written The config as written, in which tools still have all their fields. */
export function combinationProblems(sound: SoundConfig, written: unknown): CombinationProblem[] {
  const tools = toolsIn(written);
  return [
    ...outputProblems(sound, tools),
    ...toolProblems(sound, tools),
    ...cacheProblems(sound, tools),
    ...extraProblems(sound),
  ];
}

type Fields = Readonly<Record<string, unknown>>;
type Tools = readonly (readonly [name: string, tool: Fields])[];

function toolsIn(written: unknown): Tools {
  const { tools } = written as { readonly tools?: unknown };
  return isFields(tools) ? Object.entries(tools).filter((each): each is [string, Fields] => isFields(each[1])) : [];
}

// ----------------------------------------------------------------------------------------------------------- output

function outputProblems(sound: SoundConfig, tools: Tools): CombinationProblem[] {
  const { output, output_mode: mode, base_url, model, mcp_servers: servers = [] } = sound;
  const problems: CombinationProblem[] = [];
  if (output) {
    for (const [name, { citations }] of tools) {
      if (!isFields(citations) || citations['enabled'] !== true) continue;
      const message = 'expected no citations beside output, since upstream refuses the two together';
      problems.push({ path: ['tools', name, 'citations'], message });
    }
  }
  if (mode === undefined) return problems;
  const problem = (message: string) => problems.push({ path: ['output_mode'], message });
  if (!output) problem('expected an output beside it');
  else if (output.json['type'] !== 'object') problem('expected an output that is an object, as the input of a tool is');
  if (base_url === undefined) problem('expected a base_url beside it: Anthropic’s own models have structured output');
  if (forcedChoiceRefused(model))
    problem(`expected another model than ${model}, which no request may force to call a tool`);
  if (tools.length + servers.length > 0)
    problem('expected no tools beside it, since the model must call the one of the output');
  return problems;
}

/** Models from 5.5 on decide by themselves whether they call a tool. */
function forcedChoiceRefused(model: string): boolean {
  const version = versionOf(model);
  return version !== undefined && isAtLeast(version, [5, 5]);
}

// ------------------------------------------------------------------------------------------------------------ tools

function toolProblems({ tool_choice: choice, parallel_tools: parallel, ...sound }: SoundConfig, tools: Tools) {
  const { mcp_servers: servers = [] } = sound;
  const problems: CombinationProblem[] = servers.flatMap(({ name }, index) =>
    servers.findIndex((other) => other.name === name) === index
      ? []
      : [{ path: ['mcp_servers', index, 'name'], message: 'expected a name that no server before it has' }],
  );
  if (tools.length + servers.length > 0) return problems;
  const message = 'expected tools or mcp_servers beside it, found neither';
  if (choice !== undefined) problems.push({ path: ['tool_choice'], message });
  if (parallel === false) problems.push({ path: ['parallel_tools'], message });
  return problems;
}

// ------------------------------------------------------------------------------------------------------------ cache

/** Upstream takes no more marks than this in one request. */
const breakpointsMax = 4;

function cacheProblems({ cache, cache_prompt: prompt, mcp_servers: servers = [] }: SoundConfig, tools: Tools) {
  const marked = [...tools.map(([, tool]) => tool), ...servers.map(({ default_config: all }) => all ?? {})].filter(
    (tool) => isFields(tool['cache_control']),
  ).length;
  const { system = false, messages = false, tools: last = false } = cache ?? {};
  const count = [system || prompt, last, messages].filter(Boolean).length + marked;
  if (count <= breakpointsMax) return [];
  const message = `expected at most ${breakpointsMax} marks of what is kept, found ${count}: ${marked} tools have a cache_control of their own`;
  return [{ path: cache ? ['cache'] : ['tools'], message }];
}

// ------------------------------------------------------------------------------------------------------------ extra

const owners: ReadonlyMap<string, string> = new Map([
  ['stream', ''],
  ['messages', ''],
  ...Object.entries<ConfigEntry>(configKeys).flatMap(([key, { owns = [] }]) =>
    owns.map((field) => [field, key] as const),
  ),
  ['tools', 'tools'],
]);
/** `output_config`, of which keys own parts. */
const partlyOwned: ReadonlySet<string> = new Set(
  [...owners.keys()].filter((field) => field.includes('.')).map((field) => field.split('.')[0]!),
);

function extraProblems({ extra = {} }: SoundConfig): CombinationProblem[] {
  return Object.entries(extra).flatMap(([field, value]) => {
    if (!partlyOwned.has(field)) return ownedProblem([field]);
    if (!isFields(value)) {
      return [
        { path: ['extra', field], message: `expected an object, since keys of the config write parts of ${field}` },
      ];
    }
    return Object.keys(value).flatMap((part) => ownedProblem([field, part]));
  });
}

function ownedProblem(path: readonly string[]): CombinationProblem[] {
  const field = path.join('.');
  const key = owners.get(field);
  if (key === undefined) return [];
  const instead = key === '' ? 'the service sets it' : `the key ${key} sets it`;
  return [{ path: ['extra', ...path], message: `expected no ${field}, since ${instead}` }];
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
