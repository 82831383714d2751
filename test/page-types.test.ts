import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';

const run = promisify(execFile);

/** A repository in which the page and the configs are copies, and everything else is the original. */
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(resolve('node_modules/.page-types-'));
  const skip = new Set(['dist', 'node_modules'].map((name) => resolve('client-example', name)));
  await cp('client-example', join(folder, 'client-example'), {
    recursive: true,
    filter: (path) => !skip.has(resolve(path)),
  });
  for (const file of ['llm.config.ts', 'llm.tools.ts']) await cp(file, join(folder, file));
  await symlink(resolve('src'), join(folder, 'src'));
  await symlink(resolve('client-example/node_modules'), join(folder, 'client-example/node_modules'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** The compiler's messages about the page. */
async function compile(): Promise<string> {
  const tsc = run(process.execPath, [resolve('node_modules/typescript/bin/tsc'), '-p', join(folder, 'client-example')]);
  return tsc.then(
    () => '',
    (failure: { stdout: string }) => failure.stdout,
  );
}

async function rename(from: string, to: string): Promise<void> {
  const path = join(folder, 'llm.config.ts');
  await writeFile(path, (await readFile(path, 'utf8')).replace(from, to));
}

/** Each message is at the place where the page names what no longer exists, and there are no others. */
const onlyInStart = /client-example\/src\/chat\/start\.tsx\(\d+,\d+\): error TS\d+/;

it.each([
  ['a config is renamed', 'tutor: {', 'teacher: {'],
  ['a prompt asks for another variable', '{{subject}}', '{{topic}}'],
])('the page no longer compiles when %s', async (_, from, to) => {
  await rename(from, to);
  const complaints = (await compile()).split('\n').filter((line) => /^\S/.test(line));
  expect(complaints.length).toBeGreaterThan(0);
  for (const complaint of complaints) expect(complaint).toMatch(onlyInStart);
});
