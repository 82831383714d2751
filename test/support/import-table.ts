/**
 * The rules about imports within src/, and the check of source texts against them. Reads no files.
 *
 * A module is a file or a folder of src/ that the ranks name. A file that the ranks don't name belongs to the nearest
 * folder that they name.
 */
import { posix } from 'node:path';

/**
 * Modules from the top down. A module imports only from lower ranks: never from a higher one, and never from its own.
 */
export type Ranks = readonly (readonly string[])[];

/**
 * Reads the ranks from the page that describes them: they are its first block of lines of which all but the first begin
 * with `›`.
 */
export function readRanks(page: string): Ranks {
  const block = /^```\n([^`›]+\n(?:› [^`\n]+\n)+)```$/m.exec(page)?.[1];
  if (block === undefined) throw new Error('expected a block of lines that begin with ›');
  return block
    .trimEnd()
    .split('\n')
    .map((line) => line.replace('› ', '').split(', '));
}

/** A file that is imported from outside by its own name, and so stands beside the folder that it belongs to. */
const partOf: Readonly<Record<string, string>> = { 'define-configs': 'configs' };

/** The modules that alone may import a package, or one of its subpaths. */
const packageUsers: Readonly<Record<string, readonly string[]>> = {
  '@anthropic-ai/sdk': ['upstream/llm-service'],
  '@opentelemetry/api': [
    'telemetry/traces',
    'telemetry/generation-trace',
    'telemetry/trace-export',
    'service',
    'embed',
  ],
  '@opentelemetry/core': ['telemetry/traces'],
  '@opentelemetry': ['telemetry/trace-export'],
  '@trpc/client': ['client', 'cli'],
  '@trpc/server': ['doors/trpc', 'client', 'react', 'ag-ui'],
  'node:process': ['cli'],
  process: ['cli'],
  'prom-client': ['telemetry/metrics', 'service', 'embed'],
  react: ['react'],
  redis: ['stream-log/redis'],
};

/** The only modules that may import a file. All others know the stream log by its interface, and tRPC's wire without the procedures. */
const fileUsers: Readonly<Record<string, readonly string[]>> = {
  'doors/trpc/router': ['core', 'server', 'embed', 'client', 'cli', 'index'],
  'stream-log/memory': ['core', 'index'],
  'stream-log/redis': ['core', 'index'],
};

/** Modules that run in browsers. */
const ofBrowsers = new Set(['client', 'react']);
/** They import only types of the service: the values of protocol.ts would add zod to their bundles. */
const clientImports = new Set(['protocol', 'doors/trpc']);
/** Files that it may run, since they import nothing. */
const clientValues = new Set(['flow/retry-after.ts']);

const vagueNames = new Set(['utils', 'util', 'common', 'types', 'lib', 'helpers', 'helper', 'misc', 'shared']);
const linesMax = 400;

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/**
 * Every breach of the rules. Each names the file, what it imports, and the rule.
 *
 * @param sources Texts by path below src/, with forward slashes: `stream-log/memory.ts`.
 */
export function findBreaches(sources: ReadonlyMap<string, string>, ranks: Ranks): string[] {
  const table = new Table(ranks);
  return [...sources].flatMap(([path, text]) => {
    const code = withoutComments(text);
    const breaches = [
      ...breachesOfFile(path, text, code, table),
      ...importsOf(code).flatMap((each) => breachesOfImport(path, each, table)),
    ];
    return breaches.map((breach) => `src/${path} ${breach}`);
  });
}

class Table {
  readonly #ranks: Ranks;
  /** The longest name first, so that the nearest module is found. */
  readonly #modules: readonly string[];

  constructor(ranks: Ranks) {
    this.#ranks = ranks;
    this.#modules = ranks.flat().toSorted((a, b) => b.length - a.length);
  }

  moduleOf(path: string): string {
    const name = withoutExtension(path);
    return this.#modules.find((module) => isWithin(path, module)) ?? partOf[name] ?? name;
  }

  /** 0 at the top; -1 for a module that the table doesn't have. */
  rankOf(path: string): number {
    const module = this.moduleOf(path);
    return this.#ranks.findIndex((modules) => modules.includes(module));
  }
}

function breachesOfFile(path: string, text: string, code: string, table: Table): string[] {
  const breaches: string[] = [];
  if (table.rankOf(path) === -1) breaches.push('has no rank: give its module a place in ARCHITECTURE.md');
  const names = withoutExtension(path).split('/');
  if (names.some((name) => vagueNames.has(name))) breaches.push('has a name that says nothing of its job');
  const lines = text.trimEnd().split('\n').length;
  if (lines > linesMax) breaches.push(`has ${lines} lines: a file has ${linesMax} at most, so it does too much`);
  const world = /\bprocess\s*(?:\?\.|\.|\[\s*['"])\s*(env|argv)\b|\b(?:env|argv)\b[^{}]*\}\s*=\s*process\b/.exec(code);
  const allowed = path === 'cli.ts' || (path === 'embed.ts' && world?.[1] === 'env');
  if (world && !allowed) breaches.push('reads process.env or process.argv: only cli.ts may, and embed.ts the first');
  return breaches;
}

function breachesOfImport(path: string, { specifier, typeOnly }: Import, table: Table): string[] {
  const breach = (rule: string) => [`imports ${specifier}: ${rule}`];
  if (!specifier.startsWith('.')) {
    const packageRule = Object.entries(packageUsers).find(([name]) => isWithin(specifier, name));
    return !packageRule || isOneOf(path, packageRule[1]) ? [] : breach(`only ${packageRule[1].join(', ')} may`);
  }
  const target = posix.join(posix.dirname(path), specifier);
  if (target.startsWith('..')) return breach('src imports nothing from outside of it');

  const fileRule = Object.entries(fileUsers).find(([file]) => isWithin(target, file) && !isWithin(path, file));
  if (fileRule && !fileRule[1].includes(table.moduleOf(path))) return breach(`only ${fileRule[1].join(', ')} may`);
  const [from, to] = [table.moduleOf(path), table.moduleOf(target)];
  if (from === to) return [];
  if (
    ofBrowsers.has(from) &&
    !ofBrowsers.has(to) &&
    !clientValues.has(target) &&
    !(typeOnly && clientImports.has(to))
  ) {
    return breach(`${from} imports types of protocol and doors/trpc`);
  }
  if (from === 'adapters' && !(typeOnly && to === 'protocol')) return breach('adapters imports types of protocol');
  if (to === 'stream-log' && !fileRule && !isWithin(target, 'stream-log/stream-log')) {
    return breach('of stream-log/, others know stream-log.ts only');
  }
  if (table.rankOf(target) > table.rankOf(path)) return [];
  return breach(`${from} does not stand above ${to}, and imports go down only`);
}

/**
 * Static and dynamic imports and re-exports, in a text without comments. It can't distinguish imports within strings.
 */
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

function isOneOf(path: string, parents: readonly string[]): boolean {
  return parents.some((parent) => isWithin(path, parent));
}

/** Whether a path is the named file, with or without its extension, or is in the named folder. */
function isWithin(path: string, parent: string): boolean {
  return withoutExtension(path) === parent || path === parent || path.startsWith(`${parent}/`);
}

function withoutExtension(path: string): string {
  return path.replace(/\.\w+$/, '');
}
