import { describe, expect, it } from 'vitest';
import { doors, readAll, refusalOf, terminalOf, textOf } from '../support/doors.ts';
import { until } from '../support/eventually.ts';
import { inProcessDoor, lastingDoors } from '../support/every-door.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { ask, plainConfig, serviceForEachTest, type TestService } from '../support/service.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

finishesCleanly();

describe('with logs that are kept', () => {
  const test = serviceForEachTest({
    configs: { default: { ...plainConfig, on_disconnect: { cancel_after_ms: 1 } } },
  });

  describe.each([...lastingDoors, inProcessDoor(() => test.current)])('over $name', (door) => {
    it('two tabs, a late one, one that leaves and one that never reads: all readers see the same', async () => {
      const { url, upstream } = test.current;
      await using proxy = await startTcpProxy(url);
      upstream.enqueue({ kind: 'manual' });
      const generationId = crypto.randomUUID();
      const asked = ask('hi', { generationId });
      const tabs = [door.stream(url, asked), door.stream(url, asked)];
      const request = await upstream.nextRequest();
      await Promise.all(tabs.map((tab) => tab.until((event) => event.type === 'start')));

      const leaves = door.stream(url, asked);
      await request.text('one ');
      await leaves.until((event) => event.type === 'text');
      leaves.close();
      proxy.pause();
      const neverReads = door.stream(proxy.url, asked);
      for (let index = 0; index < 50; index += 1) await request.text(`${index} ${'x'.repeat(1_000)} `);
      const late = door.follow(url, { generationId });
      await late.until((event) => event.type === 'text');
      await request.text('end');
      request.finish();

      const [first, second, third] = await Promise.all([...tabs, late].map(readAll));
      neverReads.close();
      expect(textOf(first!)).toMatch(/^one 0 x[^]*end$/);
      for (const seen of [second!, third!]) {
        expect(textOf(seen)).toBe(textOf(first!));
        expect(terminalOf(seen)).toEqual(terminalOf(first!));
      }
      expect(upstream.requestCount).toBe(1);
    });

    it('a viewer that attaches in the moment of the end sees all of it, and the end once', async () => {
      const { url, upstream } = test.current;
      for (let turns = 0; turns < 12; turns += 1) {
        upstream.enqueue({ kind: 'manual' });
        const generationId = crypto.randomUUID();
        const stays = door.stream(url, ask('hi', { generationId }));
        const request = await upstream.nextRequest();
        await request.text('all of it');
        await stays.until((event) => event.type === 'text');
        request.finish();
        for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        const seen = await readAll(door.follow(url, { generationId }));
        expect(textOf(seen)).toBe('all of it');
        expect(terminalOf(seen)).toEqual(terminalOf(await readAll(stays)));
      }
    });
  });
});

describe('with logs that are dropped as soon as they have ended', () => {
  const test = serviceForEachTest({ env: { LLM_LOG_RETENTION_MS: '0' } });

  it.each(doors)('over $name, a viewer that is behind reads on to the end, and nobody else attaches', async (door) => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    // More than the sockets between the log and the viewer hold.
    const pieces = Array.from({ length: 400 }, (_, index) => `${index} ${'x'.repeat(50_000)}`);
    upstream.enqueue({ kind: 'text', text: pieces, stopReason: 'end_turn' });
    proxy.slow(1);
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    const behind = door.stream(proxy.url, asked);
    const request = await upstream.nextRequest();
    expect(await request.outcome).toBe('completed');
    await ended(test.current);
    proxy.slow(Infinity);
    for (const late of [door.stream(url, asked), door.follow(url, { generationId: asked.generationId! })]) {
      expect(await refusalOf(late)).toMatchObject({ code: 'generation_not_found' });
    }
    const seen = await readAll(behind);
    expect(textOf(seen) === pieces.join('')).toBe(true);
    expect(terminalOf(seen).type).toBe('done');
    expect(upstream.requestCount).toBe(1);
  });
});

function ended({ service }: TestService): Promise<void> {
  return until(() => service.core.generations.running === 0);
}
