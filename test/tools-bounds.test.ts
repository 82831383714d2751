/** A model that always calls a tool comes to an end: at a number of steps, or at a cost. */
import { expect, it } from 'vitest';
import { tool } from '../src/tools/tool.ts';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';
import { call, city, message, stepOf, text, withTools } from './support/tool-scripts.ts';

finishesCleanly();

let executed = 0;
const counted = tool({ description: 'Counts', input: city, execute: () => (executed += 1) });
const priced = { price: { input: 1, output: 1, cache_write: 1, cache_read: 1 } };
const test = serviceForEachTest({
  configs: {
    default: withTools({ counted }),
    three: withTools({ counted }, { steps: { max: 3 } }),
    one: withTools({ counted }, { steps: { max: 1 } }),
    ends: withTools({ counted }, { steps: { max: 3, at_limit: 'end' } }),
    cheap: withTools({ counted }, { ...priced, steps: { cost_usd: 1e-9 } }),
    cheap_ends: withTools({ counted }, { ...priced, steps: { cost_usd: 1e-9, at_limit: 'end' } }),
    unpriced: withTools({ counted }, { model: 'claude-sonnet-4-5', max_tokens: 1_000, steps: { cost_usd: 100 } }),
  },
});

/** Calls a tool whenever it may. */
async function askWithoutEnd(config: string) {
  const { url, upstream } = test.current;
  executed = 0;
  upstream.respondWith((request) => {
    if (request.body.tool_choice?.type === 'none') return message(text('This must do.'));
    return message(call(`call-${stepOf(request)}`, 'counted', { city: 'A' }));
  });
  const seen = await readAll(doors[0]!.stream(url, ask('hi', { config })));
  return { seen, done: terminalOf(seen), requests: upstream.requestCount };
}

it.each([
  { config: 'default', steps: 8, limit: 'steps' },
  { config: 'three', steps: 3, limit: 'steps' },
  { config: 'one', steps: 1, limit: 'steps' },
  { config: 'cheap', steps: 2, limit: 'cost' },
  { config: 'unpriced', steps: 2, limit: 'cost' },
])('of $config, step $steps is the last, and without tools: the model answers', async ({ config, steps, limit }) => {
  const { seen, done, requests } = await askWithoutEnd(config);
  expect(done).toMatchObject({ type: 'done', stopReason: 'end_turn', steps, limit });
  expect(textOf(seen)).toBe('This must do.');
  expect(requests).toBe(steps);
  expect(executed).toBe(steps - 1);
});

it.each([
  { config: 'ends', steps: 3, limit: 'steps' },
  { config: 'cheap_ends', steps: 1, limit: 'cost' },
])(
  'of $config, the generation ends at its limit, and the last calls are not executed',
  async ({ config, steps, limit }) => {
    const { seen, done, requests } = await askWithoutEnd(config);
    expect(done).toMatchObject({ type: 'done', stopReason: 'tool_use', steps, limit });
    expect(seen.filter(({ event }) => event.type === 'tool_call')).toHaveLength(steps);
    expect(requests).toBe(steps);
    expect(executed).toBe(steps - 1);
  },
);

it('an answer that needs no tools has one step and no limit, also where it comes at the limit', async () => {
  const { url, upstream } = test.current;
  upstream.respondWith(() => message(text('Hello.')));
  const done = terminalOf(await readAll(doors[0]!.stream(url, ask('hi', { config: 'ends' }))));
  expect(done).toMatchObject({ type: 'done', steps: 1 });
  expect(done).not.toHaveProperty('limit');
});

it('a model that calls a tool although it may not, is not obeyed', async () => {
  const { url, upstream } = test.current;
  executed = 0;
  upstream.respondWith((request) => message(call(`call-${stepOf(request)}`, 'counted', { city: 'A' })));
  const done = terminalOf(await readAll(doors[0]!.stream(url, ask('hi', { config: 'three' }))));
  expect(done).toMatchObject({ type: 'done', stopReason: 'tool_use', steps: 3, limit: 'steps' });
  expect(executed).toBe(2);
});
