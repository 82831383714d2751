/** Whatever is cut, each call and each result is seen once, and a call is executed at most once. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { tool } from '../src/tools/tool.ts';
import { doors, readAll, terminalOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';
import { bySteps, call, city, message, resultsIn, text, withTools } from './support/tool-scripts.ts';

finishesCleanly();

const executed: string[] = [];
let gate: Promise<void> | undefined;
const counted = tool({
  description: 'Counts its executions',
  input: city,
  output: z.object({ city: z.string() }),
  execute: async ({ city: name }, { generationId, callId }) => {
    executed.push(`${generationId} ${callId}`);
    await gate;
    return { city: name };
  },
});
const test = serviceForEachTest({ configs: { default: withTools({ counted }) } });

/** Two steps with two calls each, then the answer. */
const threeSteps = bySteps(
  () => message(text('One. '), call('a', 'counted', { city: 'A' }), call('b', 'counted', { city: 'B' })),
  () => message(call('c', 'counted', { city: 'C' }), call('d', 'counted', { city: 'D' })),
  () => message(text('Done.')),
);

function executionsOf(generationId: string): string[] {
  return executed.filter((each) => each.startsWith(generationId)).map((each) => each.split(' ')[1]!);
}

describe.each(doors)('over $name', (door) => {
  it('a viewer that reconnects after any event sees what follows, as in an unbroken view', async () => {
    const { url, upstream } = test.current;
    upstream.respondWith(threeSteps);
    const generationId = crypto.randomUUID();
    const whole = await readAll(door.stream(url, ask('hi', { generationId })));
    expect(terminalOf(whole)).toMatchObject({ type: 'done', steps: 3 });
    const ids = whole.flatMap(({ event }) =>
      event.type === 'tool_call' || event.type === 'tool_result' ? [event.id] : [],
    );
    expect(ids.toSorted()).toEqual(['a', 'a', 'b', 'b', 'c', 'c', 'd', 'd']);
    for (const [at, { id: lastEventId }] of whole.slice(0, -1).entries()) {
      const rest = await readAll(door.stream(url, ask('hi', { generationId, lastEventId })));
      expect(rest.filter(({ event }) => event.type !== 'text')).toEqual(
        whole.slice(at + 1).filter(({ event }) => event.type !== 'text'),
      );
    }
    expect(executionsOf(generationId).toSorted()).toEqual(['a', 'b', 'c', 'd']);
    expect(upstream.requestCount).toBe(3);
  });

  it('two viewers, and a second request with the same id while a tool runs, cause no second execution', async () => {
    const { url, upstream } = test.current;
    upstream.respondWith(threeSteps);
    let open = () => {};
    gate = new Promise((resolve) => (open = resolve));
    const generationId = crypto.randomUUID();
    const first = door.stream(url, ask('hi', { generationId }));
    await first.until(({ type }) => type === 'tool_call');
    const second = door.stream(url, ask('hi', { generationId }));
    await second.until(({ type }) => type === 'tool_call');
    open();
    const [one, other] = await Promise.all([readAll(first), readAll(second)]);
    expect(terminalOf(other)).toEqual(terminalOf(one));
    expect(executionsOf(generationId).toSorted()).toEqual(['a', 'b', 'c', 'd']);
  });
});

it('the call is in the log before it is executed, and its result before the next step is asked for', async () => {
  const { url, upstream } = test.current;
  let open = () => {};
  gate = new Promise((resolve) => (open = resolve));
  upstream.respondWith(threeSteps);
  const view = doors[0]!.stream(url, ask('hi'));
  await view.until(({ type }) => type === 'tool_call');
  expect(upstream.requestCount).toBe(1);
  open();
  await view.until((event) => event.type === 'step' && event.step === 2);
  const seen = await readAll(view);
  const types = seen.map(({ event }) => event.type);
  expect(types.lastIndexOf('tool_call')).toBeLessThan(types.lastIndexOf('tool_result'));
  expect(types.indexOf('tool_result')).toBeLessThan(types.indexOf('step'));
});

it('a call whose id upstream repeats in a later message is not executed again, and has the same result', async () => {
  const { url, upstream } = test.current;
  gate = undefined;
  upstream.respondWith(
    bySteps(
      () => message(call('same', 'counted', { city: 'A' })),
      () => message(call('same', 'counted', { city: 'B' })),
      () => message(text('Done.')),
    ),
  );
  const generationId = crypto.randomUUID();
  // The API refuses the request that repeats such a message.
  await readAll(doors[0]!.stream(url, ask('hi', { generationId })));
  expect(executionsOf(generationId)).toEqual(['same']);
  expect(upstream.requests.slice(1).map(resultsIn)).toEqual([{ same: '{"city":"A"}' }, { same: '{"city":"A"}' }]);
});
