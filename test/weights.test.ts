/**
 * The limits count what the process really holds: a byte of a log or of a running request takes a byte of its memory.
 */
import { expect, it } from 'vitest';
import { startSimulator } from '../src/simulator.ts';
import { openWire, posted } from './support/attack-wire.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { plainConfig } from './support/service.ts';
import { startServiceProcess, type Held, type ServiceProcess } from './support/service-process.ts';

finishesCleanly();

const MiB = 2 ** 20;
/** For code and objects that are made once, at the first request. */
const onceBytes = 4 * MiB;
const config = { ...plainConfig, max_tokens: 100_000_000, on_disconnect: 'continue' };

function ask(content: unknown): Buffer {
  return posted('/api/llm/process_stream/default', JSON.stringify({ messages: [{ role: 'user', content }] }));
}

/** How much more the process holds afterwards, and how much more it counts. */
async function growthOf(service: ServiceProcess, counted: 'logsBytes' | 'callersBytes', act: () => Promise<void>) {
  const before: Held = await service.measure();
  await act();
  const after = await service.measure();
  return { heldBytes: after.bytes - before.bytes, countedBytes: after[counted] - before[counted] };
}

it('running requests are counted with the memory that they take', async () => {
  await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  await using service = await startServiceProcess({ upstreamUrl: upstream.url, configs: { default: config } });
  upstream.respondWith({ kind: 'manual' });
  const contents: Readonly<Record<string, unknown>> = {
    'a long text': 'x'.repeat(2_000_000),
    'a long text with one letter beyond ASCII': `${'x'.repeat(2_000_000)}—`,
    Chinese: '汉'.repeat(500_000),
    'small objects': [{ type: 'any', list: Array.from({ length: 50_000 }, () => ({})) }],
  };
  for (const [what, content] of Object.entries(contents)) {
    const over = new AbortController();
    const { heldBytes, countedBytes } = await growthOf(service, 'callersBytes', async () => {
      for (let number = 0; number < 4; number += 1) {
        const wire = await openWire(service.url, over.signal);
        await wire.flood([ask(content)]);
        await wire.until(({ received }) => received.includes('"start"'), 60_000);
      }
    });
    expect(countedBytes, what).toBeGreaterThan(6 * MiB);
    expect(heldBytes, what).toBeLessThan(1.2 * countedBytes + onceBytes);
    for (let number = 0; number < 4; number += 1) (await upstream.nextRequest()).finish();
    over.abort();
    await eventually(async () => expect((await service.measure()).running).toBe(0));
    expect((await service.measure()).callersBytes).toBe(0);
  }
});

it('logs are counted with the memory that they take', async () => {
  await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  await using service = await startServiceProcess({ upstreamUrl: upstream.url, configs: { default: config } });
  const pieces: Readonly<Record<string, string>> = {
    English: 'token '.repeat(10),
    'English with a dash in each piece': `${'token '.repeat(10)}— `,
    Chinese: '汉字'.repeat(15),
    emoji: 'a🙂'.repeat(15),
  };
  for (const [what, piece] of Object.entries(pieces)) {
    const over = new AbortController();
    const { heldBytes, countedBytes } = await growthOf(service, 'logsBytes', async () => {
      // Sometimes one that differs from the others.
      const text = Array.from({ length: 150_000 }, (_, index) => (index % 50 === 0 ? `${piece}—` : piece));
      upstream.respondWith({ kind: 'text', text });
      const wire = await openWire(service.url, over.signal);
      await wire.flood([ask('hi')]);
      await wire.until(({ tail }) => tail.includes('"type":"done"'), 60_000);
      over.abort();
    });
    expect(countedBytes, what).toBeGreaterThan(6 * MiB);
    expect(heldBytes, what).toBeLessThan(1.2 * countedBytes + onceBytes);
  }
});
