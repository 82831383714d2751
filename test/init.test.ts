import { readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { startingFiles } from '../src/cli/init.ts';
import { commandLine } from './support/command-line.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';

finishesCleanly();
vi.setConfig({ testTimeout: 60_000 });
const cli = commandLine();

it('init writes a valid config file and a client, once, and prints the next steps', async () => {
  await writeFile(join(cli.cwd, 'package.json'), '{ "type": "commonjs" }');
  const { code, stdout, stderr } = await cli.run(['init']);
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'llm.config.ts\nask.mts\n' });
  for (const said of [
    'npm install',
    'llm-service serve',
    'npx -y tsx ask.mts',
    'tsconfig.json',
    'npm pkg set type=module',
  ])
    expect(stderr).toContain(said);
  for (const [name, text] of Object.entries(startingFiles))
    expect(await readFile(join(cli.cwd, name), 'utf8')).toBe(text);
  expect(await readFile(join(cli.cwd, 'package.json'), 'utf8')).toBe('{ "type": "commonjs" }');
  expect((await readdir(cli.cwd)).toSorted()).toEqual(['ask.mts', 'llm.config.ts', 'package.json']);
});

it('init overwrites neither a file nor the target of a link, and writes the other file', async () => {
  for (const name of await readdir(cli.cwd)) await rm(join(cli.cwd, name));
  await writeFile(join(cli.cwd, 'package.json'), '{ "type": "module" }');
  await symlink('elsewhere.ts', join(cli.cwd, 'llm.config.ts'));
  const { code, stdout, stderr } = await cli.run(['init']);
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'ask.mts\n' });
  expect(stderr).toContain('llm.config.ts exists already and is not changed');
  expect(stderr).not.toContain('npm pkg set');
  await writeFile(join(cli.cwd, 'ask.mts'), 'mine');
  expect(await cli.run(['init'])).toMatchObject({ code: 0, stdout: '' });
  expect(await readFile(join(cli.cwd, 'ask.mts'), 'utf8')).toBe('mine');
  expect(await readdir(cli.cwd)).not.toContain('elsewhere.ts');
});

it.each([['serve'], ['config', 'check'], ['chat', 'default', 'hi']])(
  '%s %s without a config file says so, and names init and LLM_CONFIG, with exit code 2',
  async (...args) => {
    await rm(join(cli.cwd, 'llm.config.ts'), { force: true });
    const { code, stdout, stderr } = await cli.run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^error: there is no config file llm\.config\.ts in .*llm-service init.*LLM_CONFIG/s);
  },
);
