/** The code blocks of docs/front-ends.md as files, which tests compile and run. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Recipes {
  /** The folder with a file for each recipe, named as its first line says. */
  readonly folder: string;
}

/** Writes the recipes before the tests of the file. They stand in `test/front-ends`, where the packages that they name are found. */
export function recipesOnDisk(): Recipes {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(root, 'test/front-ends/recipes-'));
    const page = await readFile(join(root, 'docs/front-ends.md'), 'utf8');
    for (const [, name, code] of page.matchAll(/^```tsx?\n\/\/ (\S+)\n(.*?)^```/gms)) {
      // What they import from the package, and from the reader's own project.
      const local = code!
        .replaceAll(/'llm-service\/([\w-]+)'/g, "'../../../src/$1.ts'")
        .replaceAll("'./llm.config.ts'", "'../../../llm.config.ts'");
      await writeFile(join(folder, name!), local);
    }
  });
  afterAll(() => rm(folder, { recursive: true }));
  return {
    get folder() {
      return folder;
    },
  };
}
