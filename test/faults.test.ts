import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import { faults, type FaultName } from '../src/simulator.ts';
import { doors, readAll, terminalOf, textOf, type AnyConfigRouter } from './support/doors.ts';
import { readFaultTable } from './support/fault-table.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';

finishesCleanly();

const rows = readFaultTable();
const hourMs = 3_600_000;
const patient = { first_byte_ms: hourMs, idle_ms: hourMs, total_ms: 3 * hourMs };

/** Short enough for a test, if the fault is one that is waited for. */
const args: Partial<Record<FaultName, string>> = {
  rate_limited_retry_after: '0.01',
  stall_with_pings: '10',
  slow: '1',
};
const command = (fault: FaultName) => `/sim ${fault} ${args[fault] ?? ''}`;

it('PROTOCOL has a row for every fault, and a fault for every row', () => {
  expect(rows.map(({ fault }) => fault)).toEqual(faults.map(({ name }) => name));
});

describe('a fault ends as its row says', () => {
  const test = serviceForEachTest({
    configs: {
      default: plainConfig,
      wants_a_start: { ...plainConfig, timeouts: { ...patient, first_byte_ms: 500 } },
      wants_more: { ...plainConfig, timeouts: { ...patient, idle_ms: 1_000 } },
    },
  });

  describe.each(doors)('over $name', (door) => {
    it.each(rows)('$fault', async ({ fault, event, code, retryable, requests, estimated }) => {
      const { url, upstream } = test.current;
      const impatient = requests > 1 ? 'wants_a_start' : 'wants_more';
      const config = code === 'upstream_timeout' ? impatient : 'default';
      const seen = await readAll(door.stream(url, ask(command(fault), { config })));

      const terminal = terminalOf(seen);
      expect(terminal).toMatchObject({ type: event, usage: { estimated }, config, model: plainConfig.model });
      expect('code' in terminal ? terminal.code : undefined).toBe(code);
      expect('retryable' in terminal ? terminal.retryable : undefined).toBe(retryable);
      expect(upstream.requestCount).toBe(requests);
      if (fault === 'rate_limited_retry_after') expect(terminal).toHaveProperty('retryAfterMs', 10);

      // The text before the fault is not lost, and is billed.
      const [request] = upstream.requests;
      expect(textOf(seen)).toMatch(
        request!.tokensSent > 0 ? new RegExp(`\`${fault}\` of the simulator: .+\\.$`) : /^$/,
      );
      expect(terminal.usage.inputTokens).toBe(request!.usage?.['input_tokens'] ?? 0);
      expect(terminal.usage.outputTokens).toBe(request!.tokensSent);
      for (const { outcome } of upstream.requests) expect(await outcome).toBeDefined();
    });
  });
});

describe('cancel is answered at once', () => {
  // Every wait is longer than a test may take.
  const test = serviceForEachTest({
    configs: { default: { ...plainConfig, timeouts: patient, retries: { max: 2, total_ms: 3 * hourMs } } },
    retryTiming: { firstDelayMs: hourMs, delayMaxMs: hourMs, random: () => 0 },
  });
  const endless = { ...args, rate_limited_retry_after: '3600', slow: String(hourMs) };

  it.each(rows)('during $fault', async ({ fault, requests, code }) => {
    const { url, upstream } = test.current;
    const client = createTRPCClient<AnyConfigRouter>({
      links: [httpLink({ url: `${url}/trpc`, transformer: superjson })],
    });
    const generationId = crypto.randomUUID();
    const view = doors[0]!.stream(url, ask(`/sim ${fault} ${endless[fault] ?? ''}`, { generationId }));
    const request = await upstream.nextRequest();
    // If the fault is retried, it has happened, and the service waits for the next attempt.
    if (requests > 1 && code !== 'upstream_timeout') await request.outcome;

    const { outcome } = await client.llm.cancel.mutate({ generationId });
    // Requests that run until they are stopped were stopped. The others may have ended before.
    if (requests > 1 || code === 'upstream_timeout' || fault === 'slow') expect(outcome).toBe('cancelled');
    expect(terminalOf(await readAll(view)).type === 'cancelled').toBe(outcome === 'cancelled');
    expect(await request.outcome).toBeDefined();
    expect(upstream.requestCount).toBe(1);
  });
});

describe('without a key', () => {
  const test = serviceForEachTest({ env: { ANTHROPIC_API_KEY: '', ANTHROPIC_BASE_URL: '' } });

  it.each(doors)('the built-in simulator plays faults by their names, over $name', async (door) => {
    const seen = await readAll(door.stream(test.current.url, ask('/sim overloaded')));
    expect(seen[0]!.event).toMatchObject({ type: 'start', simulated: true });
    expect(terminalOf(seen)).toMatchObject({ type: 'error', code: 'upstream_overloaded' });
    expect(test.current.service.core.simulator?.requestCount).toBe(3);
  });
});
