/**
 * With Redis: what viewers see when the process that runs their generations is killed. `KILLS=100` kills so many processes,
 * `KILL_TIMING=real` with the service's own clockwork, and prints how long viewers waited for the end.
 */
import { expect, it } from 'vitest';
import type { Simulator, SimulatorRequest } from '../src/simulator.ts';
import { defaultTiming } from '../src/stream-log/redis/timing.ts';
import { readAll, terminalOf, textOf, type View } from './support/doors.ts';
import { lastingDoors } from './support/every-door.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startRedis } from './support/redis.ts';
import { startServiceProcess } from './support/service-process.ts';
import { ask, startTestService } from './support/service.ts';
import { requires } from './support/skip.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();

const kills = Number(process.env['KILLS'] ?? 3);
const real = process.env['KILL_TIMING'] === 'real';
/** A machine that is busy holds a process up for a while, which must not count as its death. */
const redisTiming = { ...defaultTiming, ...(real ? {} : { beatMs: 750 }) };
/** The bound of the promise, with the service's own clockwork. */
const endWithinMs = 12_500;
const generations = 50;

/** A generation with what upstream has sent for it, and its viewers. */
interface Live {
  readonly generationId: string;
  readonly request: SimulatorRequest;
  readonly views: readonly View[];
  sent: string;
}

requires('redis-server')('when the process is killed that runs fifty generations,', () => {
  it(
    'every viewer has a true beginning of its answer and one producer_lost, and upstream was called once for each',
    { timeout: 120_000 + kills * 60_000 },
    async () => {
      await using redis = await startRedis();
      const env = { REDIS_URL: redis.url };
      await using survivor = await startTestService({ env, redisTiming });
      const { upstream } = survivor;
      const waited: number[] = [];
      for (let kill = 1; kill <= kills; kill += 1) {
        const before = upstream.requestCount;
        await using owner = await startServiceProcess({ upstreamUrl: upstream.url, env, redisTiming });
        await using balancer = await startTcpProxy(owner.url);
        const live = await startAll(upstream, balancer.url, survivor.url);

        let killed = false;
        const sending = Promise.all(live.map((each) => send(each, () => killed)));
        const bytes = balancer.bytesDown;
        const moment = bytes + Math.floor(Math.random() * 400_000);
        await until(() => balancer.bytesDown >= moment);
        balancer.retarget(survivor.url);
        await owner.kill();
        const killedAt = performance.now();
        const ends = live.flatMap(({ views }) => views.map((view) => readAll(view)));
        for (const end of ends) void end.then(() => waited.push(performance.now() - killedAt));
        await Promise.all(ends);
        killed = true;
        await sending;
        for (const { views, sent } of live) {
          const texts = views.map(({ seen }) => textOf(seen));
          for (const { seen } of views) {
            expect(terminalOf(seen)).toMatchObject({ type: 'error', code: 'producer_lost' });
            expect(sent.startsWith(textOf(seen))).toBe(true);
          }
          expect(new Set(texts).size).toBe(1);
          expect(texts[0]).not.toBe('');
        }
        expect(upstream.requestCount - before).toBe(generations);
      }
      if (!real) return;
      console.log(`${kills} kills: viewers waited ${Math.round(Math.max(...waited))} ms at most for the end`);
      expect(Math.max(...waited)).toBeLessThanOrEqual(endWithinMs);
    },
  );
});

/** Each generation is started and followed through the balancer, and followed on the instance that survives. */
async function startAll(upstream: Simulator, balancerUrl: string, survivorUrl: string): Promise<Live[]> {
  const requests = new Map<string, SimulatorRequest>();
  upstream.respondWith((request) => {
    const asked = JSON.stringify(request.body.messages[0]!.content);
    requests.set(/[\da-f-]{36}/.exec(asked)![0], request);
    return { kind: 'manual' };
  });
  const live: Live[] = [];
  for (let number = 0; number < generations; number += 1) {
    const generationId = crypto.randomUUID();
    const door = lastingDoors[number % lastingDoors.length]!;
    const started = door.stream(balancerUrl, ask(generationId, { generationId }));
    await until(() => requests.has(generationId));
    const request = requests.get(generationId)!;
    await request.text('begun,');
    await started.until(({ type }) => type === 'text');
    const followed = door.follow(survivorUrl, { generationId });
    live.push({ generationId, request, views: [started, followed], sent: 'begun,' });
  }
  await Promise.all(live.map(({ views }) => views[1]!.until(({ type }) => type === 'text')));
  return live;
}

async function send(live: Live, over: () => boolean): Promise<void> {
  for (let number = 0; !over(); number += 1) {
    const piece = `${number} é🙂,`;
    live.sent += piece;
    await live.request.text(piece);
    await new Promise((resolve) => setTimeout(resolve, 5 + Math.random() * 30));
  }
}
