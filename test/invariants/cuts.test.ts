import { describe, expect, it } from 'vitest';
import { terminalOf, textOf, type Seen } from '../support/doors.ts';
import { inProcessDoor, lastingDoors, type LastingDoor } from '../support/every-door.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from '../support/service.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

finishesCleanly();
const test = serviceForEachTest();

const tokens = ['one ', 'twö ', '字🙂 ', 'four'];
/** `start`, the tokens, `done`. */
const eventsInAll = tokens.length + 2;

describe.each([...lastingDoors, inProcessDoor(() => test.current)])('over $name', (door) => {
  it('a viewer that is cut off after any event, or before the first, sees each event once', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    for (let eventsBefore = 0; eventsBefore <= eventsInAll; eventsBefore += 1) {
      upstream.enqueue({ kind: 'manual' });
      if (eventsBefore === 0) proxy.cutAfter(1);
      const view = door.stream(proxy.url, ask('hi', { generationId: crypto.randomUUID() }));
      const cutNow = async () => {
        if (view.seen.length === eventsBefore) door.cut(proxy);
      };
      const request = await upstream.nextRequest();
      await view.until((event) => event.type === 'start');
      await cutNow();
      for (const token of tokens) {
        await request.text(token);
        await view.until((event) => event.type === 'text' && event.text === token);
        await cutNow();
      }
      request.finish();
      await view.until((event) => event.type === 'done');
      await cutNow();
      await view.completed;
      expectWhole(view.seen);
      expect(view.seen).toHaveLength(eventsInAll);
    }
    expect(upstream.requestCount).toBe(eventsInAll + 1);
  });

  it('a viewer that is cut off after each event, time and again, sees each event once', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    upstream.enqueue({ kind: 'manual' });
    const view = door.stream(proxy.url, ask('hi', { generationId: crypto.randomUUID() }));
    const request = await upstream.nextRequest();
    await view.until((event) => event.type === 'start');
    for (const token of tokens) {
      door.cut(proxy);
      await request.text(token);
      await view.until((event) => event.type === 'text' && event.text === token);
    }
    door.cut(proxy);
    request.finish();
    await view.completed;
    expectWhole(view.seen);
    expect(upstream.requestCount).toBe(1);
  });
});

describe.each(lastingDoors)('over $name', (door) => {
  it('a cut between any two of the last bytes loses nothing, whether they are of the last event or follow it', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    const bytesInAll = await playThrough(door, proxy.url, () => proxy.bytesDown);
    const bytesOfEnd = 700;
    let played = 1;
    for (let bytes = bytesInAll - bytesOfEnd; bytes < bytesInAll; bytes += 23) {
      proxy.cutAfter(bytes);
      await playThrough(door, proxy.url, () => proxy.bytesDown);
      played += 1;
    }
    expect(proxy.cutsWithin).toBeGreaterThan(bytesOfEnd / 23 / 2);
    expect(upstream.requestCount).toBe(played);
  });
});

/** One answer, read whole. Returns how many bytes it took by this meter. */
async function playThrough(door: LastingDoor, url: string, meter: () => number): Promise<number> {
  const before = meter();
  test.current.upstream.enqueue({ kind: 'text', text: tokens });
  const view = door.stream(url, ask('hi', { generationId: crypto.randomUUID() }));
  await view.completed;
  expectWhole(view.seen);
  return meter() - before;
}

function expectWhole(seen: readonly Seen[]): void {
  expect(textOf(seen)).toBe(tokens.join(''));
  expect(terminalOf(seen).type).toBe('done');
  expect(seen.filter(({ event }) => event.type === 'start')).toHaveLength(1);
  const offsets = seen.map(({ id }) => Number(id.split(':')[1]));
  expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b));
}
