/**
 * The table of who may import whom in src/, and the check of source texts against it. Reads no files.
 *
 * A module is a file or folder right under src/; what stands in a folder belongs to the module of the folder's name.
 */
import { posix } from 'node:path';

/** From the top down. A module imports from lower ranks only: never upward, never from its own rank. */
const ranks: readonly (readonly string[])[] = [
  ['cli', 'index'],
  ['service', 'client'],
  ['server'],
  ['doors'],
  ['router', 'rest', 'page'],
  ['access', 'generations', 'sse-response', 'openapi'],
  ['llm-service'],
  ['upstream'],
  ['stream-log', 'simulator', 'configs', 'json-body'],
  ['telemetry', 'settings', 'flow-control', 'held-bytes'],
  ['errors', 'faults', 'json-bounds', 'json-line', 'limits', 'address', 'sink', 'turns', 'within'],
  ['protocol', 'caller'],
];

/** Files that a module has split into without getting a folder. */
const partOf: Readonly<Record<string, string>> = {
  'response-room': 'held-bytes',
  'api-keys': 'settings',
  'config-environment': 'configs',
  'config-file': 'configs',
  'config-models': 'configs',
  'config-schema': 'configs',
  'config-text': 'configs',
  'config-warnings': 'configs',
  'config-watch': 'configs',
  core: 'service',
  cors: 'access',
  'define-configs': 'configs',
  embed: 'service',
  'generation-end': 'generations',
  prompt: 'configs',
  'prompt-warnings': 'configs',
  'event-batches': 'router',
  'http-refusals': 'server',
  'log-lines': 'telemetry',
  'open-answers': 'server',
  origin: 'access',
  'plain-input': 'router',
  'refusal-lines': 'telemetry',
  'request-identity': 'generations',
  'running-generation': 'generations',
  sizing: 'settings',
  'sse-cursor': 'sse-response',
  stalls: 'server',
  'unwanted-upgrade': 'server',
  'upstream-variables': 'settings',
  'web-pages': 'access',
};

/** Who alone may import a package, or one of its subpaths. */
const packageUsers: Readonly<Record<string, readonly string[]>> = {
  '@anthropic-ai/sdk': ['llm-service'],
  '@trpc/client': ['client', 'cli'],
  '@trpc/server': ['router', 'event-batches', 'server', 'doors', 'client'],
  'node:process': ['cli'],
  process: ['cli'],
  redis: ['stream-log/redis'],
};

/** Who alone may import a file: everyone else knows the stream log by its interface. */
const fileUsers: Readonly<Record<string, readonly string[]>> = {
  'stream-log/memory': ['service', 'index'],
  'stream-log/redis': ['service', 'index'],
};

/** It runs in browsers, so it takes types alone: the values of the protocol would bring zod along. */
const clientImports = new Set(['protocol', 'router']);

const vagueNames = new Set(['utils', 'util', 'common', 'types', 'lib', 'helpers', 'helper', 'misc', 'shared']);
const linesMax = 400;

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/**
 * Every breach of the rules, each naming the file, what it does, and the rule.
 *
 * @param sources Texts by path below src/, with forward slashes: `stream-log/memory.ts`.
 */
export function findBreaches(sources: ReadonlyMap<string, string>): string[] {
  return [...sources].flatMap(([path, text]) => {
    const code = withoutComments(text);
    const breaches = [
      ...breachesOfFile(path, text, code),
      ...importsOf(code).flatMap((each) => breachesOfImport(path, each)),
    ];
    return breaches.map((breach) => `src/${path} ${breach}`);
  });
}

function breachesOfFile(path: string, text: string, code: string): string[] {
  const breaches: string[] = [];
  if (rankOf(path) === -1) breaches.push('has no rank: give its module a place in the import table');
  const names = withoutExtension(path).split('/');
  if (names.some((name) => vagueNames.has(name))) breaches.push('has a name that says nothing of its job');
  const lines = text.trimEnd().split('\n').length;
  if (lines > linesMax) breaches.push(`has ${lines} lines: a file has ${linesMax} at most, so it does too much`);
  const world = /\bprocess\s*(?:\?\.|\.|\[\s*['"])\s*(env|argv)\b|\b(?:env|argv)\b[^{}]*\}\s*=\s*process\b/.exec(code);
  const allowed = path === 'cli.ts' || (path === 'embed.ts' && world?.[1] === 'env');
  if (world && !allowed) breaches.push('reads process.env or process.argv: only cli.ts may, and embed.ts the first');
  return breaches;
}

function breachesOfImport(path: string, { specifier, typeOnly }: Import): string[] {
  const breach = (rule: string) => [`imports ${specifier}: ${rule}`];
  if (!specifier.startsWith('.')) {
    const packageRule = Object.entries(packageUsers).find(([name]) => isWithin(specifier, name));
    return !packageRule || isOneOf(path, packageRule[1]) ? [] : breach(`only ${packageRule[1].join(', ')} may`);
  }
  const target = posix.join(posix.dirname(path), specifier);
  if (target.startsWith('..')) return breach('src imports nothing from outside of it');

  const fileRule = Object.entries(fileUsers).find(([file]) => isWithin(target, file) && !isWithin(path, file));
  if (fileRule && !fileRule[1].includes(moduleOf(path))) return breach(`only ${fileRule[1].join(', ')} may`);
  const [from, to] = [moduleOf(path), moduleOf(target)];
  if (from === to) return [];
  if (from === 'client' && !(typeOnly && clientImports.has(to))) {
    return breach('client imports types of protocol and router');
  }
  if (to === 'stream-log' && !fileRule && !isWithin(target, 'stream-log/stream-log')) {
    return breach('of stream-log/, others know stream-log.ts only');
  }
  if (rankOf(target) > rankOf(path)) return [];
  return breach(`${from} does not stand above ${to}, and imports go down only`);
}

/** Static and dynamic imports and re-exports, in a text without comments. What stands in a string is not told apart. */
function importsOf(code: string): Import[] {
  const statements = code.matchAll(
    /^(?:import|export)\b(\s+type\b(?=\s*[\w$*{]))?(?:[\w$*{},\s]*?\bfrom)?\s*(['"])(.+?)\2/gm,
  );
  const expressions = code.matchAll(/\bimport\(\s*(['"`])(.+?)\1/g);
  return [
    ...[...statements].map((match) => ({ specifier: match[3]!, typeOnly: match[1] !== undefined })),
    ...[...expressions].map((match) => ({ specifier: match[2]!, typeOnly: false })),
  ];
}

function withoutComments(text: string): string {
  const stringOrComment = /(['"])(?:\\.|(?!\1)[^\\\n])*\1|`(?:\\.|[^\\`])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
  return text.replace(stringOrComment, (match) => (match.startsWith('/') ? ' ' : match));
}

function moduleOf(path: string): string {
  const name = withoutExtension(path.split('/')[0]!);
  return partOf[name] ?? name;
}

/** 0 at the top; -1 for a module that the table doesn't know. */
function rankOf(path: string): number {
  return ranks.findIndex((modules) => modules.includes(moduleOf(path)));
}

function isOneOf(path: string, parents: readonly string[]): boolean {
  return parents.some((parent) => isWithin(path, parent));
}

/** Whether a path is the named file, with or without its extension, or stands in the named folder. */
function isWithin(path: string, parent: string): boolean {
  return withoutExtension(path) === parent || path === parent || path.startsWith(`${parent}/`);
}

function withoutExtension(path: string): string {
  return path.replace(/\.\w+$/, '');
}
