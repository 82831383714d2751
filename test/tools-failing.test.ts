/** Whatever a tool throws, and however its schema judges, the call gets a result, and the service goes on. */
import { z } from 'zod';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tool } from '../src/tools/tool.ts';
import { doors, readAll, terminalOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';
import { call, city, message, stepOf, text, withTools } from './support/tool-scripts.ts';

finishesCleanly();

const throwing = (thrown: () => unknown) =>
  tool({
    description: 'Throws',
    input: city,
    execute: () => {
      throw thrown();
    },
  });
const unreadable = (property: string, name = 'Error') =>
  Object.defineProperty(Object.assign(new Error('x'), { name }), property, {
    get() {
      throw new Error('y');
    },
  });
const proxy = () =>
  new Proxy(new Error('x'), {
    getPrototypeOf() {
      throw new Error('y');
    },
  });

let judged = 0;
const rejecting = z.object({
  city: z.string().refine(async () => {
    judged += 1;
    throw new Error('the database is down');
  }),
});
const test = serviceForEachTest({
  configs: {
    default: withTools({
      stack: throwing(() => unreadable('stack')),
      message: throwing(() => unreadable('message', 'ToolError')),
      prototype: throwing(proxy),
      nothing: throwing(() => undefined),
      empty: throwing(() => Object.assign(new Error(' '), { name: 'ToolError' })),
      halves: throwing(() => Object.assign(new Error('a\ud800'), { name: 'ToolError' })),
      input: tool({ description: 'Judges', input: rejecting, execute: () => 1 }),
      output: tool({ description: 'Judges', input: city, output: rejecting, execute: () => ({ city: 'A' }) }),
    }),
  },
});

const unhandled: unknown[] = [];
const note = (reason: unknown) => void unhandled.push(reason);
beforeEach(() => void process.on('unhandledRejection', note));
afterEach(() => void process.off('unhandledRejection', note));

it.each([
  ['an error whose stack throws', 'stack', 'failed', 'The tool failed'],
  ['a ToolError whose message throws', 'message', 'failed', 'The tool failed'],
  ['an error whose prototype throws', 'prototype', 'failed', 'The tool failed'],
  ['nothing', 'nothing', 'failed', 'The tool failed'],
  ['a ToolError without words', 'empty', 'failed', 'The tool failed'],
  ['a ToolError with half a letter', 'halves', 'failed', 'a\ufffd'],
  ['an input schema that rejects', 'input', 'invalid_input', 'the schema failed while it judged this value'],
  ['an output schema that rejects', 'output', 'invalid_output', 'The tool gave a result that does not fit its schema'],
])('%s becomes the result of the call', async (_what, name, code, words) => {
  judged = 0;
  const { url, upstream } = test.current;
  upstream.respondWith((request) =>
    stepOf(request) === 1 ? message(call('call-1', name, { city: 'A' })) : message(text('Well.')),
  );
  const seen = await readAll(doors[0]!.stream(url, ask('hi')));
  const result = seen.find(({ event }) => event.type === 'tool_result')!.event;
  expect(result).toMatchObject({ ok: false, error: { code, message: words } });
  expect(terminalOf(seen)).toMatchObject({ type: 'done', stopReason: 'end_turn' });
  expect(judged).toBe(['input', 'output'].includes(name) ? 1 : 0);
  expect(unhandled).toEqual([]);
});
