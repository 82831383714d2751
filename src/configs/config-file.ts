/**
 * Loads configs: reads the config file in its language and the prompt files that it names, and passes them to configs.ts,
 * which judges them. Keeps nothing between two loads, so that a load never sees the former text of a changed file. No message
 * about a broken file quotes the file, which may hold prompts.
 */
import { closeSync, constants, existsSync, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { createJiti } from 'jiti';
import { within } from '../flow/within.ts';
import { parseJson, parseYaml, TextError } from './config-text.ts';
import { ConfigError, parseConfigs, type ConfigSnapshot } from './configs.ts';
import { suggestion, type Problem } from '../settings/problems.ts';
import { configFileDefault } from '../settings/service-variables.ts';

export interface LoadConfigsOptions {
  /** `.ts`, `.mts`, `.js` or `.mjs` with a default export, `.json`, `.yaml` or `.yml`; relative to `cwd`. */
  readonly file: string;
  /** The JSON text of `LLM_CONFIGS`. */
  readonly overrides?: string | undefined;
  readonly cwd: string;
  /** The environment in which the variables that the configs name must be set. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /**
   * Called with the absolute path of each file before it is read: the config file, prompt files, and the TypeScript modules that
   * the config file imports. It is called for missing files too, and also where the load fails.
   */
  readonly onFile?: (path: string) => void;
}

/**
 * Reads and judges the configs that a deployment serves. Paths of prompt files are relative to the config file.
 *
 * @throws ConfigError with every problem that was found.
 */
export async function loadConfigs(options: LoadConfigsOptions): Promise<ConfigSnapshot> {
  const { file, overrides, cwd, env, onFile = () => {} } = options;
  const path = resolve(cwd, file);
  onFile(path);
  // Where the environment holds all configs, there may be no file.
  const missing = !existsSync(path);
  const unneeded = overrides !== undefined && file === configFileDefault && missing;
  if (missing && !unneeded) throw missingFile(file, path);
  const [written, replaced] = await Promise.all([
    read(() => (unneeded ? {} : readConfigFile(path, onFile))),
    read(() => (overrides === undefined ? undefined : parseJson(overrides))),
  ]);
  if ('unread' in written || 'unread' in replaced) throw unreadError(file, written, replaced);
  return parseConfigs(written.value, {
    file,
    env,
    readPrompt: (prompt) => {
      const promptPath = resolve(dirname(path), prompt);
      onFile(promptPath);
      return readText(promptPath, prompt);
    },
    ...(overrides !== undefined && { overrides: replaced.value }),
  });
}

function missingFile(file: string, path: string): ConfigError {
  const message = `found no file there; \`llm-service init\` writes a first one, and LLM_CONFIG can name another${similarFile(file, path)}`;
  return new ConfigError(`there is no config file ${basename(file)} in ${dirname(path)}:`, [{ path: '', message }]);
}

/** Suggests a config file of the same folder whose name is nearly the same. */
function similarFile(file: string, path: string): string {
  try {
    const others = readdirSync(dirname(path)).filter((name) => extensions.has(extname(name)));
    return suggestion(
      file,
      others.map((name) => join(dirname(file), name)),
    );
  } catch {
    return '';
  }
}

/** What was read, or the error for which it can't be. */
type Reading = { readonly value: unknown } | { readonly unread: Error };

async function read(from: () => unknown): Promise<Reading> {
  try {
    return { value: await from() };
  } catch (thrown) {
    return { unread: thrown as Error };
  }
}

function unreadError(file: string, written: Reading, replaced: Reading): ConfigError {
  const ofFile = problemsOf(written, 'unread' in replaced ? file : '');
  const ofOverrides = problemsOf(replaced, 'unread' in written ? 'LLM_CONFIGS' : '');
  const headline =
    ofFile.length === 0
      ? 'LLM_CONFIGS is not valid:'
      : ofOverrides.length === 0
        ? `${file} is not a valid config file:`
        : `${file} and LLM_CONFIGS are not valid:`;
  const cause = 'unread' in written ? written.unread.cause : undefined;
  return new ConfigError(headline, [...ofFile, ...ofOverrides], cause === undefined ? {} : { cause });
}

function problemsOf(reading: Reading, path: string): Problem[] {
  if (!('unread' in reading)) return [];
  const { unread } = reading;
  return (unread instanceof TextError ? unread.messages : [unread.message]).map((message) => ({ path, message }));
}

// -------------------------------------------------------------------------------------------------------- languages

const extensions: ReadonlySet<string> = new Set(['.ts', '.mts', '.js', '.mjs', '.json', '.yaml', '.yml']);

// These functions throw an Error whose message says what was expected, and what was found where that is no secret.

function readConfigFile(path: string, onFile: (path: string) => void): unknown {
  switch (extname(path)) {
    case '.json':
      return parseJson(filled(readText(path)));
    case '.yaml':
    case '.yml':
      return parseYaml(filled(readText(path)));
    case '.ts':
    case '.mts':
    case '.js':
    case '.mjs':
      return importDefault(path, onFile);
    default:
      throw new Error('expected a name that ends in .ts, .mts, .js, .mjs, .json, .yaml or .yml');
  }
}

function filled(text: string): string {
  if (text.trim() === '') throw new Error('expected a map from config name to config, found an empty file');
  return text;
}

/** How long a module may take to load: it may await at its top level a promise that never settles. */
const loadMsMax = 10_000;

async function importDefault(path: string, onFile: (path: string) => void): Promise<unknown> {
  // Without a module cache, since a second load would get the modules of the first. Without a cache on disk, since other users
  // of the machine might write to it.
  const options = { moduleCache: false, fsCache: false, interopDefault: false };
  const compiler = createJiti(import.meta.url, options);
  const jiti = createJiti(import.meta.url, {
    ...options,
    transform(module) {
      if (module.filename !== undefined) onFile(module.filename);
      return { code: compiler.transform(module) };
    },
  });
  const text = readText(path);
  let module: { readonly default?: unknown; readonly __esModule?: unknown };
  try {
    // Compiled whatever its language: jiti would import an ECMAScript module by Node, which reads each file once only.
    const evaluated = jiti.evalModule(text, { filename: path, async: true, forceTranspile: true });
    const late = () => new Error(`still loading after ${loadMsMax / 1_000} s`);
    module = (await within(loadMsMax, Promise.resolve(evaluated), late)) as typeof module;
  } catch (cause) {
    throw new Error(`expected a module that loads: ${wordsOf(cause, path)}`, { cause });
  }
  if (module.__esModule === true && module.default !== undefined) return module.default;
  // In CommonJS `module.exports` is the map of configs. A key `default` there is a config of that name, and no default export.
  if (module.__esModule !== true && Object.keys(module).length > 0) return module;
  throw new Error('expected a default export: export default defineConfigs({ … })');
}

/** The message of what a module threw, on one line, with the file and line where they are known. */
function wordsOf(thrown: unknown, path: string): string {
  if (!(thrown instanceof Error)) return 'it throws a value that is no Error';
  const { message, stack = '' } = thrown;
  const folder = dirname(path);
  const [own = ''] = message.split('\nRequire stack:');
  // jiti's compiler puts its own class before the message, and file and line after it.
  const words = own
    .replace(/^ParseError: /, '')
    .replaceAll(`${folder}/`, '')
    .replace(/\s+/g, ' ');
  if (/:\d+:\d+$/.test(words)) return words;
  const frames = stack
    .slice(stack.indexOf(message) + message.length)
    .matchAll(/(?:\(|at |file:\/\/)(\/[^():]+):(\d+):\d+\)?$/gm);
  const frame = [...frames].find(
    ([, file = '']) => !/[\\/]node_modules[\\/]/.test(file) && !relative(folder, file).startsWith('..'),
  );
  return frame ? `${words} (${relative(folder, frame[1]!)}:${frame[2]})` : words;
}

// ----------------------------------------------------------------------------------------------------------- files

const textBytesMax = 1024 * 1024;

/** Returns a function that reads prompt files, whose paths are relative to the folder. For configs that stand in no file. */
export function promptReader(folder: string): (file: string) => string {
  return (file) => readText(resolve(folder, file), file);
}

/**
 * The file's text, without a byte order mark.
 *
 * @param written The path as the operator wrote it, for the error's message where nothing else in it names the file.
 */
function readText(path: string, written?: string): string {
  try {
    // Non-blocking, since opening a pipe would otherwise wait until somebody writes to it.
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = fstatSync(descriptor);
      if (!stats.isFile()) throw new Error(stats.isDirectory() ? 'a directory' : 'no regular file');
      if (stats.size > textBytesMax) throw new Error(`${stats.size} bytes`);
      return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(descriptor));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    const place = written === undefined ? '' : ` at ${written}`;
    const found = foundInstead(error as NodeJS.ErrnoException);
    throw new Error(`expected a text file of at most 1 MiB${place}, found ${found}`, { cause: error });
  }
}

function foundInstead({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case undefined:
      return message;
    case 'ENOENT':
      return 'no file there';
    case 'ERR_ENCODING_INVALID_ENCODED_DATA':
      return 'bytes that are not UTF-8';
    case 'EACCES':
    case 'EPERM':
      return 'one that this user may not read';
    case 'ELOOP':
      return 'a symlink that leads back to itself';
    default:
      return `one that can't be read (${code})`;
  }
}
