/** A thread is a label of the caller's that finds the newest generation of a chat, and changes nothing else. */
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import { createLlmClient } from '../src/client.ts';
import { doors, readAll, refusalOf, textOf, type AnyConfigRouter } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { sha256 } from './support/key-file.ts';
import { ask, serviceForEachTest, startTestService } from './support/service.ts';
import { requires } from './support/skip.ts';
import { newPrefix, redisForAllTests } from './support/stream-logs.ts';

finishesCleanly();

const alice = 'sk-alice';
const bob = 'sk-bob';
const keys = { LLM_API_KEYS: `alice:${sha256(alice)}, bob:${sha256(bob)}` };
const test = serviceForEachTest({ env: keys });

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const queries = (url: string, key = alice) =>
  createTRPCClient<AnyConfigRouter>({
    links: [httpLink({ url: `${url}/trpc`, transformer: superjson, headers: bearer(key) })],
  }).llm;

describe.each(doors)('over $name', (door) => {
  it('a follow of a thread reads its newest generation from the beginning, and starts none', async () => {
    const { url, upstream } = test.current;
    const thread = 'chat/1 é';
    for (const answer of ['the first', 'the second', 'another chat']) upstream.enqueue({ kind: 'text', text: answer });
    const first = await readAll(door.stream(url, ask('1', { thread }), alice));
    const second = await readAll(door.stream(url, ask('2', { thread }), alice));
    await readAll(door.stream(url, ask('3', { thread: 'chat/2' }), alice));
    expect(second[0]!.event).toMatchObject({ type: 'start', thread });
    expect(await readAll(door.follow(url, { thread }, alice))).toEqual(second);

    const back = door.follow(url, { thread, lastEventId: first[0]!.id }, alice);
    expect(textOf(await readAll(back)), 'who has seen events of an older one goes on with that').toBe('the first');
    const astray = await refusalOf(door.follow(url, { thread: 'chat/2', lastEventId: first[0]!.id }, alice));
    expect(astray).toMatchObject({ code: 'invalid_input', issues: [{ path: 'lastEventId' }] });
    for (const [none, key] of [
      ['chat/3', alice],
      [thread, bob],
    ] as const) {
      expect(await refusalOf(door.follow(url, { thread: none }, key))).toMatchObject({ code: 'generation_not_found' });
    }
    expect(upstream.requestCount).toBe(3);
  });

  it('a generation keeps the label that it was started with, whoever attaches', async () => {
    const { url, upstream } = test.current;
    const generationId = crypto.randomUUID();
    const seen = await readAll(door.stream(url, ask('hi', { generationId, thread: 'chat' }), alice));
    for (const thread of ['other', undefined]) {
      const request = ask('hi', { generationId, ...(thread === undefined ? {} : { thread }) });
      expect(await readAll(door.stream(url, request, alice))).toEqual(seen);
    }
    expect(await queries(url).generation.query({ generationId })).toMatchObject({ thread: 'chat' });
    expect(await queries(url).generations.query({ thread: 'chat' })).toMatchObject([{ generationId, thread: 'chat' }]);
    expect(await queries(url).generations.query({ thread: 'other' })).toEqual([]);
    expect(upstream.requestCount).toBe(1);
  });

  it('a label that is empty or too long is refused, and nothing is run', async () => {
    const { url, upstream } = test.current;
    for (const thread of ['', 'x'.repeat(201)]) {
      const refused = { code: 'invalid_input', issues: [{ path: 'thread' }] };
      expect(await refusalOf(door.stream(url, ask('hi', { thread }), alice))).toMatchObject(refused);
      expect(await refusalOf(door.follow(url, { thread }, alice))).toMatchObject(refused);
    }
    expect(upstream.requestCount).toBe(0);
    expect(await readAll(door.stream(url, ask('hi', { thread: '字'.repeat(200) }), alice))).not.toEqual([]);
  });
});

it('llm.follow takes an id or a thread, and says so where it gets both or neither', async () => {
  for (const request of [{}, { generationId: crypto.randomUUID(), thread: 'chat' }]) {
    const refusal = await refusalOf(doors[0]!.follow(test.current.url, request as never, alice));
    expect(refusal).toMatchObject({ code: 'invalid_input', issues: [{ path: 'generationId' }] });
    expect(refusal.message).toContain('thread');
  }
});

it('REST lists what llm.generations lists, by thread and in pages', async () => {
  const { url, upstream } = test.current;
  upstream.respondWith({ kind: 'text', text: 'hi' });
  for (const thread of ['a', 'b', 'a', 'a']) await readAll(doors[0]!.stream(url, ask('hi', { thread }), alice));
  const list = async (query: string, key = alice) => {
    const response = await fetch(`${url}/api/llm/generations${query}`, { headers: bearer(key) });
    return { status: response.status, body: await response.json() };
  };
  const all = await queries(url).generations.query();
  expect(all.map(({ thread }) => thread)).toEqual(['a', 'a', 'b', 'a']);
  expect(await list('')).toEqual({ status: 200, body: all });
  expect((await list('?thread=a')).body).toEqual(all.filter(({ thread }) => thread === 'a'));
  expect((await list(`?thread=a&limit=1&before=${all[0]!.generationId}`)).body).toEqual([all[1]]);
  expect((await list('?thread=a', bob)).body).toEqual([]);
  for (const query of ['?limit=0', '?limit=many', '?thread=', '?before=1', '?thread=a&thread=b']) {
    expect(await list(query), query).toMatchObject({ status: 400, body: { error: { code: 'invalid_input' } } });
  }
  expect(await list(`?thread=b&before=${all[0]!.generationId}`)).toMatchObject({ status: 404 });
  expect((await fetch(`${url}/api/llm/generations`)).status).toBe(401);
});

it.each(['sse', 'ws'] as const)('the client follows and cancels by thread over %s', async (transport) => {
  const { url, upstream } = test.current;
  upstream.enqueue({ kind: 'manual' });
  await using llm = createLlmClient<AnyConfigRouter>({ url, transport, token: alice });
  const asked = llm.stream(ask('hi', { thread: 'chat' }));
  const asking = asked[Symbol.asyncIterator]();
  expect((await asking.next()).value).toMatchObject({ type: 'start', thread: 'chat' });
  const request = await upstream.nextRequest();

  const followed = llm.follow({ thread: 'chat' });
  expect(followed.generationId).toBe('');
  const following = followed[Symbol.asyncIterator]();
  await following.next();
  expect(followed.generationId).toBe(asked.generationId);
  expect(await llm.follow({ thread: 'chat' }).cancel()).toBe('cancelled');
  expect(await request.outcome).toBe('client_closed');
  expect((await following.next()).value).toMatchObject({ type: 'cancelled', reason: 'requested' });
  expect((await asking.next()).value).toMatchObject({ type: 'cancelled', reason: 'requested' });
  await Promise.all([asking.next(), following.next()]);
  expect(await followed.cancel()).toBe('already_ended');

  const none = llm.follow({ thread: 'no such chat' });
  await expect(none.text()).rejects.toMatchObject({ code: 'generation_not_found' });
  await expect(none.cancel()).rejects.toMatchObject({ code: 'generation_not_found' });
});

it('a client that follows a thread stays with its generation when it reads again', async () => {
  const { url, upstream } = test.current;
  for (const answer of ['older', 'newer']) upstream.enqueue({ kind: 'text', text: answer });
  await using llm = createLlmClient<AnyConfigRouter>({ url, transport: 'sse', token: alice });
  await llm.stream(ask('1', { thread: 'chat' })).text();
  const followed = llm.follow({ thread: 'chat' });
  expect(await followed.text()).toBe('older');
  await llm.stream(ask('2', { thread: 'chat' })).text();
  expect(await followed.text()).toBe('older');
  expect(await llm.follow({ thread: 'chat' }).text()).toBe('newer');
});

requires('redis-server')('of two instances', () => {
  const redis = redisForAllTests();

  it('each finds the newest generation of a thread, whichever of them runs it', async () => {
    const env = { ...keys, REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}` };
    await using a = await startTestService({ env });
    await using b = await startTestService({ env: { ...env, ANTHROPIC_BASE_URL: a.upstream.url } });
    for (const text of ['by a', 'by b']) a.upstream.enqueue({ kind: 'text', text });
    const [door] = doors;
    for (const [asked, other, text] of [
      [a, b, 'by a'],
      [b, a, 'by b'],
    ] as const) {
      const seen = await readAll(door!.stream(asked.url, ask('hi', { thread: 'chat' }), alice));
      expect(textOf(seen)).toBe(text);
      expect(await readAll(door!.follow(other.url, { thread: 'chat' }, alice))).toEqual(seen);
    }
    const listed = await queries(a.url).generations.query({ thread: 'chat' });
    expect(listed).toHaveLength(2);
    expect(await queries(b.url).generations.query({ thread: 'chat' })).toEqual(listed);
  });
});
