/** What an editor shows of the package: every type that an export names can be imported, and every member has a comment. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, expect, it, vi } from 'vitest';
import { readPublicTypes, type PublicTypes } from './openapi-client/public-types.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
// The compiler is slow on a busy machine.
vi.setConfig({ hookTimeout: 120_000 });

/** The steps of the types that find the variables of a prompt's text and the events of a config: nobody writes them. */
const steps = /^(?:VariablesIn|EventOf) names/;

let types: PublicTypes;
beforeAll(async () => {
  // Within the project, so that the declarations find the packages that they name.
  const parent = join(root, 'node_modules/.cache');
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, 'public-types-'));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const project = join(root, 'tsconfig.build.json');
  const options = ['--emitDeclarationOnly', '--sourceMap', 'false', '--outDir', folder];
  await promisify(execFile)(process.execPath, [tsc, '--project', project, ...options]);
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    readonly exports: Readonly<Record<string, string | { readonly types: string }>>;
  };
  const entries = Object.values(manifest.exports).flatMap((entry) => (typeof entry === 'string' ? [] : [entry.types]));
  types = readPublicTypes(
    entries.map((entry) => join(folder, entry.replace('./dist/', ''))),
    folder,
  );
  return () => rm(folder, { recursive: true });
});

it('every type that an export names is exported', () => {
  expect(types.notExported.filter((each) => !steps.test(each))).toEqual([]);
});

it('every export, and every member of one, has a comment', () => {
  expect(types.undocumented).toEqual([]);
});
