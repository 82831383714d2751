/** The code blocks of docs/front-ends.md for other people's clients as files, which tests compile and run. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const othersClients = /from '(?:ai|@ai-sdk|@ag-ui|@assistant-ui|@tanstack|@trpc\/react-query|openai|rxjs)\b/;
/** A folder of a framework is a part of its name. */
const inFolders = /^\/\/ \S+\//;

/** Whether an example needs what is installed for test/front-ends alone. docs-code.test.ts compiles all others. */
export function needsOthers(code: string): boolean {
  return othersClients.test(code) || inFolders.test(code);
}

export interface Recipes {
  /** The folder with a file for each recipe, named as its first line says. */
  readonly folder: string;
}

/** Writes the recipes before the tests of the file. They stand in `test/front-ends`, where the packages that they name are found. */
export function recipesOnDisk(): Recipes {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(root, 'test/front-ends/recipes-'));
    // The configs of the reader's own project are those of the README.
    const config = /^```ts\n\/\/ llm\.config\.ts\n.*?^```/ms.exec(await readFile(join(root, 'README.md'), 'utf8'))![0];
    const page = await readFile(join(root, 'docs/front-ends.md'), 'utf8');
    for (const [, code] of `${config}\n${page}`.matchAll(/^```tsx?\n(\/\/ \S+\n.*?)^```/gms)) {
      const name = /^\/\/ (\S+)/.exec(code!)![1]!;
      if (name === 'llm.config.ts' || needsOthers(code!)) await write(join(folder, name), code!);
    }
  });
  afterAll(() => rm(folder, { recursive: true }));
  return {
    get folder() {
      return folder;
    },
  };
}

/** Writes a file, which imports the package from its source. */
async function write(file: string, code: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const source = relative(dirname(file), join(root, 'src'));
  const local = code
    .replaceAll("'llm-service'", `'${source}/index.ts'`)
    .replaceAll("'llm-service/config'", `'${source}/define-configs.ts'`)
    .replaceAll(/'llm-service\/([\w-]+)'/g, `'${source}/$1.ts'`);
  await writeFile(file, local);
}
