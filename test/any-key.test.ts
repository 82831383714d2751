/**
 * Every key is data, also the keys that every object inherits. No key is lost or refused, and none reads a value that
 * was never set.
 */
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import type { StreamRequest } from '../src/protocol.ts';
import { readAll, refusalOf, terminalOf, type AnyConfigRouter } from './support/doors.ts';
import { inProcessDoor, lastingDoors } from './support/every-door.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { postJson, send } from './support/raw-http.ts';
import { openSocket, query } from './support/raw-websocket.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const inherited = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf'];
/** No prompt has a variable of the first name, so no request can have one either. */
const variables = inherited.slice(1);
const test = serviceForEachTest({
  configs: {
    default: plainConfig,
    ...Object.fromEntries(
      variables.map((name) => [`about-${name}`, { ...plainConfig, system_prompt: `You teach {{${name}}}.` }]),
    ),
  },
});

/** As JSON.parse makes it: all of them are own properties. */
const block =
  '{"type":"search_result","source":"t","__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}},' +
  '"content":[{"type":"text","text":"x","__proto__":{"deep":1},"toString":"y","hasOwnProperty":[{"__proto__":2}]}]}';

/** Not by the stock links: their superjson refuses to write some of these keys. */
const anyKeyDoors = lastingDoors.filter(({ name }) => !name.includes('stock'));

describe.each([...anyKeyDoors, inProcessDoor(() => test.current)])('over $name', (door) => {
  it('a content block reaches upstream with each of its keys', async () => {
    const { url, upstream } = test.current;
    const messages = [{ role: 'user', content: [JSON.parse(block) as object] }];
    const seen = await readAll(door.stream(url, { config: 'default', messages } as StreamRequest));
    expect(terminalOf(seen).type).toBe('done');
    expect(JSON.stringify(upstream.requests[0]!.body.messages)).toBe(`[{"role":"user","content":[${block}]}]`);
    expect(({} as { admin?: unknown }).admin).toBeUndefined();
  });

  it.each(variables)('a variable named %s is a variable', async (name) => {
    const { url, upstream } = test.current;
    const asked = { ...ask('hi', { config: `about-${name}` }), variables: { [name]: 'algebra' } };
    const seen = await readAll(door.stream(url, asked));
    expect(terminalOf(seen).type).toBe('done');
    expect(JSON.stringify(upstream.requests[0]!.body.system)).toContain('You teach algebra.');
    await expect(readAll(door.stream(url, ask('hi', { config: `about-${name}` })))).rejects.toThrow(/./);
    expect(upstream.requestCount).toBe(1);
  });
});

describe.each(anyKeyDoors)('over $name', (door) => {
  it.each(inherited)('a variable named %s that no prompt has is refused by its name', async (name) => {
    for (const value of ['x', { a: 1 }]) {
      const unknown = JSON.parse(`{"${name}": ${JSON.stringify(value)}}`) as Record<string, string>;
      const refusal = await refusalOf(door.stream(test.current.url, { ...ask('hi'), variables: unknown }));
      expect(refusal.code).toBe('invalid_input');
      expect(refusal.message).toContain(name);
    }
  });
});

it.each(inherited)('there is no procedure named %s', async (name) => {
  const { url } = test.current;
  const trpc = createTRPCClient<AnyConfigRouter>({ links: [httpLink({ url: `${url}/trpc`, transformer: superjson })] });
  const untyped = trpc as unknown as Record<string, { query(): Promise<unknown> }>;
  await expect(untyped[name]!.query()).rejects.toMatchObject({ data: { llm: { code: 'invalid_input' } } });
  const asStream = await send(`${url}/trpc/${name}`, { headers: { accept: 'text/event-stream' } });
  expect(asStream.text).toContain('event: serialized-error');
  expect(asStream.text).toContain('"code":"invalid_input"');
  using socket = await openSocket(url);
  socket.send(query(1, name));
  expect((await socket.next()).error?.json.data.llm.code).toBe('invalid_input');
});

it.each(inherited)('a query parameter and a header named %s change nothing', async (name) => {
  const { url } = test.current;
  expect((await send(`${url}/api/llm/configs?${name}=x`, { headers: { [name]: 'x' } })).status).toBe(200);
  const answer = await postJson(`${url}/api/llm/process_stream/default?${name}=x`, ask('hi'), { [name]: 'x' });
  expect(answer.status).toBe(200);
});
