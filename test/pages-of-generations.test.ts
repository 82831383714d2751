/** `llm.generations` lists a caller's generations in pages, newest first. */
import { expect, it } from 'vitest';
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { doors, readAll, type AnyConfigRouter } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();
const rest = doors.find(({ name }) => name === 'rest')!;

function client() {
  return createTRPCClient<AnyConfigRouter>({
    links: [httpLink({ url: `${test.current.url}/trpc`, transformer: superjson })],
  }).llm;
}

it('without an input up to a hundred of them, with `before` those that began earlier', async () => {
  const { url, upstream } = test.current;
  upstream.respondWith({ kind: 'text', text: 'hi' });
  const ids: string[] = [];
  for (let number = 0; number < 105; number += 1) {
    const generationId = crypto.randomUUID();
    ids.unshift(generationId);
    await readAll(rest.stream(url, ask('hi', { generationId })));
  }
  const idsOf = (page: readonly { generationId: string }[]) => page.map(({ generationId }) => generationId);
  expect(idsOf(await client().generations.query())).toEqual(ids.slice(0, 100));
  expect(idsOf(await client().generations.query({ limit: 1_000 }))).toEqual(ids);
  expect(idsOf(await client().generations.query({ limit: 3, before: ids[1]!.toUpperCase() }))).toEqual(ids.slice(2, 5));
  expect(await client().generations.query({ before: ids.at(-1)! })).toEqual([]);
});

it('a page is refused if its `before` doesn’t exist, or if it is too long', async () => {
  const code = (promise: Promise<unknown>) =>
    promise.catch((error: { data: { llm: { code: string } } }) => error.data.llm.code);
  expect(await code(client().generations.query({ before: crypto.randomUUID() }))).toBe('generation_not_found');
  expect(await code(client().generations.query({ limit: 1_001 }))).toBe('invalid_input');
  expect(await code(client().generations.query({ limit: 0 }))).toBe('invalid_input');
});
