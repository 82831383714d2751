/**
 * A UUID is the same in upper and lower case (RFC 9562, section 4): one generation and one bill, wherever the service
 * takes its id.
 */
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import { createLlmClient } from '../src/client.ts';
import { parseEventId } from '../src/protocol.ts';
import { readAll, textOf, type AnyConfigRouter } from './support/doors.ts';
import { inProcessDoor, lastingDoors } from './support/every-door.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { postJson, send } from './support/raw-http.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

const lower = '7c42ca9b-9eab-4d04-80b3-40f10b0c54aa';
const upper = lower.toUpperCase();
const mixed = lower.replace('7c42ca9b', '7C42ca9B');

describe.each([...lastingDoors, inProcessDoor(() => test.current)])('over $name', (door) => {
  it('every spelling of an id attaches to the one generation, whose events bear it in lower case', async () => {
    const { url, upstream } = test.current;
    const seen = await readAll(door.stream(url, ask('hi', { generationId: upper })));
    expect(seen[0]!.event).toMatchObject({ type: 'start', generationId: lower });
    expect(seen.map(({ id }) => parseEventId(id)?.generationId)).toEqual(seen.map(() => lower));
    for (const generationId of [lower, mixed]) {
      expect(await readAll(door.stream(url, ask('hi', { generationId })))).toEqual(seen);
      expect(await readAll(door.follow(url, { generationId }))).toEqual(seen);
      const lastEventId = seen[0]!.id.toUpperCase();
      expect(await readAll(door.follow(url, { generationId, lastEventId }))).toEqual(seen.slice(1));
      expect(await readAll(door.stream(url, ask('hi', { generationId, lastEventId })))).toEqual(seen.slice(1));
    }
    expect(await readAll(door.stream(url, ask('hi', { lastEventId: seen[0]!.id.toUpperCase() })))).toEqual(
      seen.slice(1),
    );
    expect(upstream.requestCount).toBe(1);
  });

  it('an id that was barred in one spelling is barred in the other', async () => {
    const { url, upstream } = test.current;
    await send(`${url}/api/llm/generations/${upper}`, { method: 'DELETE' });
    const started = readAll(door.stream(url, ask('hi', { generationId: lower })));
    await expect(started).rejects.toThrow(/No such generation|generation_not_found/);
    expect(upstream.requestCount).toBe(0);
  });
});

describe('an answer that runs', () => {
  type Cancel = (url: string) => Promise<unknown>;
  const ways: readonly { readonly name: string; readonly cancel: Cancel }[] = [
    { name: 'REST', cancel: (url) => send(`${url}/api/llm/generations/${upper}`, { method: 'DELETE' }) },
    { name: 'tRPC', cancel: (url) => trpc(url).llm.cancel.mutate({ generationId: upper }) },
    {
      name: 'our own client',
      cancel: async (url) => {
        await using client = createLlmClient<AnyConfigRouter>({ url, transport: 'sse' });
        await client.follow({ generationId: upper }).cancel();
      },
    },
  ];

  it.each(ways)('is cancelled under another spelling of its id, over $name', async ({ cancel }) => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'manual' });
    const view = lastingDoors[0]!.stream(url, ask('hi', { generationId: lower }));
    await upstream.nextRequest();
    await cancel(url);
    expect((await readAll(view)).at(-1)?.event).toMatchObject({ type: 'cancelled', reason: 'requested' });
  });

  it('is found under another spelling of its id', async () => {
    const { url } = test.current;
    await readAll(lastingDoors[0]!.stream(url, ask('hi', { generationId: mixed })));
    expect(await trpc(url).llm.generation.query({ generationId: upper })).toMatchObject({ generationId: lower });
    expect(await trpc(url).llm.generations.query()).toMatchObject([{ generationId: lower }]);
  });
});

it('a run bears the id that its start event bears', async () => {
  await using client = createLlmClient<AnyConfigRouter>({ url: test.current.url, transport: 'ws' });
  const run = client.stream({ ...ask('hi'), generationId: upper });
  for await (const event of run) if (event.type === 'start') expect(event.generationId).toBe(run.generationId);
  expect(run.generationId).toBe(lower);
});

it('a cursor in the URL, or in a header, is one whatever its case', async () => {
  const { url, upstream } = test.current;
  const seen = await readAll(lastingDoors[0]!.stream(url, ask('hi', { generationId: lower })));
  const cursor = seen.at(-2)!.id.toUpperCase();
  const input = { json: { generationId: upper } };
  const inHeader = await postJson(`${url}/trpc/llm.follow`, input, { 'last-event-id': cursor });
  const inUrl = await postJson(`${url}/trpc/llm.follow?lastEventId=${cursor}`, input);
  for (const { text } of [inHeader, inUrl]) expect(text.match(/^id: .*$/gm)).toEqual([`id: ${seen.at(-1)!.id}`]);
  expect(textOf(seen)).not.toBe('');
  expect(upstream.requestCount).toBe(1);
});

function trpc(url: string) {
  return createTRPCClient<AnyConfigRouter>({ links: [httpLink({ url: `${url}/trpc`, transformer: superjson })] });
}

describe('over REST', () => {
  const messages = [{ role: 'user', content: 'hi' }];
  const path = '/api/llm/process_stream/default';
  const asked = (body: object, headers: Readonly<Record<string, string>> = {}) =>
    send(`${test.current.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ messages, ...body }),
    });

  it('the id may be in the header or in the body, and is the same id', async () => {
    const first = await asked({ generationId: upper });
    expect(first.text).toContain(lower);
    expect((await asked({}, { 'idempotency-key': mixed })).text).toBe(first.text);
    expect((await asked({ generationId: lower }, { 'idempotency-key': upper })).text).toBe(first.text);
    expect(test.current.upstream.requestCount).toBe(1);
  });

  it('two different ids are refused, and so is an invalid one', async () => {
    const two = await asked({ generationId: lower }, { 'idempotency-key': crypto.randomUUID() });
    expect(two).toMatchObject({ status: 400, text: expect.stringContaining('Idempotency-Key') as string });
    const none = await asked({ generationId: 'mine' });
    expect(none).toMatchObject({ status: 400, text: expect.stringContaining('expected a UUID') as string });
    expect(test.current.upstream.requestCount).toBe(0);
  });
});
