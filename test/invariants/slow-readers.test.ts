import { expect, it } from 'vitest';
import { doors, readAll, terminalOf, textOf } from '../support/doors.ts';
import { until } from '../support/eventually.ts';
import { lastingDoors } from '../support/every-door.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from '../support/service.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

finishesCleanly();
const stallMs = 3_000;
const test = serviceForEachTest({ env: { LLM_SOCKET_STALL_MS: `${stallMs}` } });

/** More than the sockets in between hold, in two events. */
const pieces = ['x'.repeat(6 * 1024 * 1024), 'y'.repeat(6 * 1024 * 1024)];

it.each(doors)(
  'over $name, a reader that is slow, but reads, is waited for, also in the middle of a large event',
  async (door) => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    upstream.enqueue({ kind: 'text', text: pieces, stopReason: 'end_turn' });
    // All of it takes more than twice as long as a reader may take nothing.
    proxy.slow((2 * pieces[0]!.length) / (2.5 * stallMs));
    const seen = await readAll(door.stream(proxy.url, ask('hi', { generationId: crypto.randomUUID() })));
    expect(textOf(seen) === pieces.join('')).toBe(true);
    expect(proxy.connections).toBe(1);
  },
);

it('a reader that takes nothing is disconnected, and comes back for the remaining events', async () => {
  const { service, url, upstream } = test.current;
  await using proxy = await startTcpProxy(url);
  upstream.respondWith({ kind: 'manual' });
  const views = lastingDoors.map((door) => door.stream(proxy.url, ask('hi', { generationId: crypto.randomUUID() })));
  const requests = await Promise.all(views.map(() => upstream.nextRequest()));
  await Promise.all(views.map((view) => view.until((event) => event.type === 'start')));
  proxy.pause();
  for (const request of requests) {
    for (const piece of pieces) await request.text(piece);
    request.finish();
  }
  await until(() => service.core.access.load.viewers === 0);
  proxy.resume();
  for (const view of views) {
    const seen = await readAll(view);
    expect(textOf(seen) === pieces.join('')).toBe(true);
    expect(terminalOf(seen).type).toBe('done');
  }
  expect(upstream.requestCount).toBe(views.length);
});
