import { expect, it } from 'vitest';
import { startSimulator } from '../../src/simulator.ts';
import { lastingDoors } from '../support/every-door.ts';
import { refusalOf } from '../support/doors.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { ask } from '../support/service.ts';
import { startServiceProcess } from '../support/service-process.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

finishesCleanly();

it('after the death of the process, a client that has seen an event gets generation_not_found, and no second generation starts', async () => {
  await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  upstream.respondWith({ kind: 'manual' });
  const first = await startServiceProcess({ upstreamUrl: upstream.url });
  await using proxy = await startTcpProxy(first.url);
  const views = lastingDoors.map((door) => door.stream(proxy.url, ask('hi', { generationId: crypto.randomUUID() })));
  for (const _ of views) await (await upstream.nextRequest()).text('half');
  await Promise.all(views.map((view) => view.until((event) => event.type === 'text')));

  await using second = await startServiceProcess({ upstreamUrl: upstream.url });
  proxy.retarget(second.url);
  await first.kill();
  proxy.cut();
  const refusals = await Promise.all(views.map(refusalOf));
  expect(refusals.map(({ code }) => code)).toEqual(views.map(() => 'generation_not_found'));
  expect(upstream.requestCount).toBe(views.length);
});
