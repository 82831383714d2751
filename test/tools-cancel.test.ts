/** A cancel reaches the tool, and doesn't wait for one that ignores it. */
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { clientTool, tool } from '../src/tools/tool.ts';
import { doors, readAll, terminalOf, type AnyConfigRouter } from './support/doors.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';
import { bySteps, call, city, message, text, withTools } from './support/tool-scripts.ts';

finishesCleanly();

let aborted: unknown;
let late: (value: string) => void = () => {};
const listening = tool({
  description: 'Waits for its signal',
  input: city,
  execute: (_input, { signal }) =>
    new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        aborted = signal.reason;
        reject(signal.reason as Error);
      });
    }),
});
const deaf = tool({
  description: 'Ignores its signal',
  input: city,
  execute: () => new Promise<string>((resolve) => (late = resolve)),
});
const pick = clientTool({ description: 'Picks', input: city, output: z.string() });
const test = serviceForEachTest({
  configs: {
    default: withTools({ listening, deaf, pick }),
    short: withTools({ listening }, { timeouts: { total_ms: 300 } }),
    leaves: withTools({ listening }, { on_disconnect: { cancel_after_ms: 1 } }),
  },
});

function cancel(url: string, generationId: string) {
  const client = createTRPCClient<AnyConfigRouter>({
    links: [httpLink({ url: `${url}/trpc`, transformer: superjson })],
  });
  return client.llm.cancel.mutate({ generationId });
}

describe.each(doors)('over $name', (door) => {
  it.each(['listening', 'deaf', 'pick'])(
    'a cancel while %s is at work ends the generation soon, with the result `cancelled` before the terminal event',
    async (name) => {
      const { url, upstream } = test.current;
      upstream.respondWith(
        bySteps(
          () => message(call('a', name, { city: 'A' })),
          () => message(text('Never.')),
        ),
      );
      const generationId = crypto.randomUUID();
      const view = door.stream(url, ask('hi', { generationId }));
      await view.until(({ type }) => type === 'tool_call');
      aborted = undefined;
      expect((await cancel(url, generationId)).outcome).toBe('cancelled');
      const seen = await readAll(view);
      expect(seen.slice(-2).map(({ event }) => event)).toMatchObject([
        { type: 'tool_result', id: 'a', ok: false, error: { code: 'cancelled' } },
        { type: 'cancelled', reason: 'requested' },
      ]);
      expect(terminalOf(seen).usage.inputTokens).toBeGreaterThan(0);
      if (name === 'listening') expect(aborted).toBe('requested');
      late('too late');
      expect(upstream.requestCount).toBe(1);
    },
  );
});

it('when the last viewer has left for too long, the tool’s signal aborts', async () => {
  const { url, upstream } = test.current;
  upstream.respondWith(() => message(call('a', 'listening', { city: 'A' })));
  const generationId = crypto.randomUUID();
  const view = doors[0]!.stream(url, ask('hi', { generationId, config: 'leaves' }));
  const { id } = await view.until(({ type }) => type === 'tool_call');
  aborted = undefined;
  view.close();
  await until(() => aborted !== undefined);
  const seen = await readAll(doors[0]!.follow(url, { generationId, lastEventId: id }));
  expect(terminalOf(seen)).toMatchObject({ type: 'cancelled', reason: 'disconnected' });
  expect(aborted).toBe('disconnected');
});

it('a generation whose time is up while a tool runs ends as upstream_timeout, with the whole account', async () => {
  const { url, upstream } = test.current;
  upstream.respondWith(() => message(call('a', 'listening', { city: 'A' })));
  const seen = await readAll(doors[0]!.stream(url, ask('hi', { config: 'short' })));
  const end = terminalOf(seen);
  expect(end).toMatchObject({ type: 'error', code: 'upstream_timeout' });
  expect(seen.some(({ event }) => event.type === 'tool_result' && !event.ok)).toBe(true);
  expect(upstream.requestCount).toBe(1);
});
