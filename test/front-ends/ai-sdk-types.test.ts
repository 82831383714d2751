/** Our transport is one of the AI SDK's, by the types of both lines. */
import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const here = fileURLToPath(new URL('.', import.meta.url));
const tsc = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));

it('the compiler takes it as a ChatTransport of the lines 6 and 7, and refuses what does not fit the config', async () => {
  // A project of one file: those of other front ends have tests of their own.
  const project = `${here}tsconfig.ai-sdk.json`;
  await writeFile(project, JSON.stringify({ extends: './tsconfig.json', include: ['ai-sdk.test-d.ts'] }));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', project]).catch(
      (error: { readonly stdout: string }) => error,
    );
    expect(stdout).toBe('');
  } finally {
    await rm(project);
  }
});
