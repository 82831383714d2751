/** The client as bundlers make it for each kind of runtime, from the package as it is published. */
import { build } from 'esbuild';
import { readFile } from 'node:fs/promises';

export interface BundleOptions {
  /** The export conditions of a bundler for that runtime, in addition to `import`, `module` and `default`. */
  readonly conditions?: readonly string[];
  /** Files of the client, in place of the package's export. */
  readonly entries?: readonly string[];
  /** Expressions that stand for others, as a runtime has them. */
  readonly define?: Readonly<Record<string, string>>;
}

/** One minified text without imports. Running it sets `globalThis.client`. Fails if anything can't be resolved. */
export async function bundleClient(options: BundleOptions = {}): Promise<string> {
  const { conditions = ['browser'], define = {} } = options;
  const entries = options.entries ?? [await sourceOf(conditions)];
  const { outputFiles } = await build({
    stdin: { contents: entries.map((entry) => `export * from ${JSON.stringify(entry)};`).join('\n'), resolveDir: '.' },
    define,
    bundle: true,
    write: false,
    minify: true,
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: [...conditions, 'import', 'module'],
    format: 'iife',
    globalName: 'client',
    footer: { js: 'globalThis.client = client;' },
    target: 'es2022',
    logLevel: 'silent',
  });
  return outputFiles[0]!.text;
}

type Exports = Readonly<Record<string, string>>;

/** The source file that `llm-service/client` resolves to under these conditions. */
export async function sourceOf(conditions: readonly string[]): Promise<string> {
  const manifest = JSON.parse(await readFile('package.json', 'utf8')) as { exports: Record<string, Exports> };
  const active = new Set([...conditions, 'import', 'default']);
  const [, target] = Object.entries(manifest.exports['./client']!).find(([condition]) => active.has(condition))!;
  return target.replace('./dist/', './src/').replace(/\.js$/, '.ts');
}
