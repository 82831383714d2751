import { describe, expect, it } from 'vitest';
import { doors, readAll, terminalOf, textOf, type Seen } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { postJson, send } from './support/raw-http.ts';
import { ask, serviceForEachTest } from './support/service.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();
const test = serviceForEachTest();

const trpcDoors = doors.filter(({ name }) => name !== 'rest');

/** The numbers of bytes after which a connection is cut: in the headers, then all over the answer. */
const cutPoints = [100, ...Array.from({ length: 12 }, (_, index) => 400 + index * 97)];

describe.each(trpcDoors)('over $name, on the stock link', (door) => {
  it('a viewer that is cut off in mid-answer is sent the missing events only, and upstream is called once', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    upstream.enqueue({ kind: 'manual' });
    const view = door.stream(proxy.url, ask('hi', { generationId: crypto.randomUUID() }));
    const request = await upstream.nextRequest();
    const tokens = Array.from({ length: 6 }, (_, index) => `token ${index} `);
    for (const token of tokens) {
      await request.text(token);
      await view.until((event) => event.type === 'text' && event.text === token);
      proxy.cut();
    }
    request.finish();
    const seen = await readAll(view);
    expect(textOf(seen)).toBe(tokens.join(''));
    expect(terminalOf(seen).type).toBe('done');
    expectContiguous(seen);
    expect(proxy.connections).toBeGreaterThan(1);
    expect(upstream.requestCount).toBe(1);
  });

  it('a viewer that is cut off between any two bytes misses nothing and sees nothing twice', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    const text = Array.from({ length: 40 }, (_, index) => `täken ${index} 🙂 `);
    for (const bytes of cutPoints) {
      upstream.enqueue({ kind: 'text', text });
      proxy.cutAfter(bytes);
      const seen = await readAll(door.stream(proxy.url, ask('hi', { generationId: crypto.randomUUID() })));
      expect(textOf(seen)).toBe(text.join(''));
      expect(terminalOf(seen).type).toBe('done');
      expectContiguous(seen);
    }
    expect(upstream.requestCount).toBe(cutPoints.length);
  });
});

describe('over rest', () => {
  const rest = doors.find(({ name }) => name === 'rest')!;

  it('Last-Event-ID resumes with the missing events only, by the events route and by the same POST', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    const first = rest.stream(url, asked);
    const request = await upstream.nextRequest();
    await request.text('one ');
    const { id: lastEventId } = await first.until((event) => event.type === 'text');
    first.close();
    await request.text('two ');
    const byRoute = rest.follow(url, { generationId: asked.generationId!, lastEventId });
    const byPost = rest.stream(url, { ...asked, lastEventId });
    await byRoute.until((event) => event.type === 'text');
    await request.text('three');
    request.finish();
    for (const view of [byRoute, byPost]) {
      const seen = await readAll(view);
      expect(textOf(seen)).toBe('two three');
      expect(seen.some(({ event }) => event.type === 'start')).toBe(false);
      expect(terminalOf(seen).type).toBe('done');
    }
    expect(upstream.requestCount).toBe(1);
  });
});

describe('a client that can’t set headers', () => {
  const generationId = crypto.randomUUID();
  const routes = [
    {
      name: 'REST, by GET',
      ask: (url: string, query: string, headers: Record<string, string>) =>
        send(`${url}/api/llm/generations/${generationId}/events${query}`, { headers }),
    },
    {
      name: 'REST, by POST',
      ask: (url: string, query: string, headers: Record<string, string>) =>
        postJson(`${url}/api/llm/process_stream/default${query}`, { messages: ask('hi').messages }, headers),
    },
    {
      name: 'the tRPC door',
      ask: (url: string, query: string, headers: Record<string, string>) =>
        postJson(`${url}/trpc/llm.follow${query}`, { json: { generationId } }, headers),
    },
  ];

  it.each(routes)('resumes by its URL over $name, and a header outranks it', async ({ ask: come }) => {
    const { url, upstream } = test.current;
    const ids = (await readAll(doors[0]!.stream(url, ask('hi', { generationId })))).map(({ id }) => id);
    const idsOf = async (query: string, headers = {}) =>
      [...(await come(url, query, headers)).text.matchAll(/^id: (.*)$/gm)].map((match) => match[1]);
    for (const name of ['lastEventId', 'lastEventID', 'last_event_id', 'Last-Event-ID']) {
      expect(await idsOf(`?a=b&${name}=${encodeURIComponent(ids[0]!)}`), name).toEqual(ids.slice(1));
    }
    // As a client writes it that adds one cursor at each reconnect, and as a client that has seen nothing yet.
    expect(await idsOf(`?lastEventId=${ids[0]}&lastEventId=${ids[1]}`)).toEqual(ids.slice(2));
    const idempotent = { 'idempotency-key': generationId };
    expect(await idsOf('?lastEventId=', idempotent)).toEqual(ids);
    expect(await idsOf(`?lastEventId=${ids[0]}`, { 'last-event-id': ids[1] })).toEqual(ids.slice(2));
    expect(await idsOf(`?lastEventId=${ids.at(-1)}`)).toEqual([]);
    expect((await come(url, '?lastEventId=nonsense', {})).text).toContain('"path":"lastEventId"');
    expect(upstream.requestCount).toBe(1);
  });
});

/** Offsets rise. If one is left out, the next event is text into which it was merged. */
function expectContiguous(seen: readonly Seen[]): void {
  let last = -1;
  for (const { id, event } of seen) {
    const offset = Number(id.split(':')[1]);
    expect(offset).toBeGreaterThan(last);
    if (event.type !== 'text') expect(offset).toBe(last + 1);
    last = offset;
  }
}
