/** The terminal client that README shows, run as a reader would run it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

function ask(prompt: string) {
  const child = spawn(process.execPath, ['--import', 'tsx', 'client-example/terminal.ts', 'default', prompt], {
    env: { LLM_SERVICE_URL: `${test.current.url}/trpc` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return { child, stderr: text(child.stderr), closed: once(child, 'close') };
}

it('lists the configs, prints the answer and says how it ended', async () => {
  test.current.upstream.enqueue({ kind: 'text', text: 'Well, hello.' });
  const { child, stderr, closed } = ask('hi');
  expect(await text(child.stdout)).toBe('Well, hello.');
  expect(await stderr).toMatch(/^default: .*tokens, end_turn\n$/s);
  expect(await closed).toEqual([0, null]);
});

it('ends quietly when its reader leaves', async () => {
  const { upstream } = test.current;
  upstream.enqueue({ kind: 'manual' });
  const { child, stderr, closed } = ask('hi');
  const request = await upstream.nextRequest();
  await request.text('first');
  await once(child.stdout, 'data');
  child.stdout.destroy();
  await request.text('second');
  expect(await closed).toEqual([0, null]);
  expect(await stderr).not.toContain('Error');
  request.finish();
});
