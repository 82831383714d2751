import { expect, it } from 'vitest';
import { z } from 'zod';
import { createRandom } from '../../src/simulator/random.ts';
import { tool } from '../../src/tools/tool.ts';
import { terminalOf, type Seen } from '../support/doors.ts';
import { lastingDoors } from '../support/every-door.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from '../support/service.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { bySteps, call, city, message, text, withTools } from '../support/tool-scripts.ts';

finishesCleanly();

const generations = 200;
const atOnce = 20;
const seed = 20_261_127;
const executions = new Map<string, number>();
const counted = tool({
  description: 'Counts its executions',
  input: city,
  output: z.string(),
  execute: async ({ city: name }, { generationId, callId }) => {
    const key = `${generationId} ${callId}`;
    executions.set(key, (executions.get(key) ?? 0) + 1);
    await new Promise((resolve) => setImmediate(resolve));
    return name;
  },
});
const test = serviceForEachTest({ configs: { default: withTools({ counted }) } });

/** Offsets count on, text merged: each event's offset is beyond the one before, and every event that isn't text is there once. */
function expectWhole(seen: readonly Seen[]): void {
  const offsets = seen.map(({ id }) => Number(id.split(':')[1]));
  expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b));
  const kinds = seen.map(({ event }) => event.type).filter((type) => type !== 'text');
  const step = ['tool_start', 'tool_start', 'tool_call', 'tool_call', 'tool_result', 'tool_result', 'step'];
  expect(kinds.toSorted()).toEqual(['start', ...step, ...step, 'done'].toSorted());
}

it(`of ${generations} generations of three steps under random cuts, with two viewers each, every call is executed once`, async () => {
  const { url, upstream } = test.current;
  const two = (step: number) => () =>
    message(
      text(`Step ${step}. `),
      call(`${step}a`, 'counted', { city: 'A' }),
      call(`${step}b`, 'counted', { city: 'B' }),
    );
  upstream.respondWith(bySteps(two(1), two(2), () => message(text('Done.'))));
  await using proxy = await startTcpProxy(url);
  const random = createRandom(seed, 0);
  let left = generations;
  async function run(): Promise<void> {
    while (left > 0) {
      const door = lastingDoors[left % lastingDoors.length]!;
      left -= 1;
      proxy.cutAfter(1 + (random() % 5_000));
      const generationId = crypto.randomUUID();
      const first = door.stream(proxy.url, ask('hi', { generationId }));
      const second = door.stream(proxy.url, ask('hi', { generationId }));
      await Promise.all([first.completed, second.completed]);
      for (const { seen } of [first, second]) {
        expect(terminalOf(seen)).toMatchObject({ type: 'done', steps: 3 });
        expectWhole(seen);
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, run));
  expect(proxy.cuts).toBeGreaterThan(generations / 10);
  expect(executions.size).toBe(generations * 4);
  expect(new Set(executions.values())).toEqual(new Set([1]));
  expect(upstream.requestCount).toBe(generations * 3);
});
