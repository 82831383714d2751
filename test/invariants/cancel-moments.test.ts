import { createTRPCClient, createWSClient, httpLink, wsLink } from '@trpc/client';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { Telemetry } from '../../src/telemetry/telemetry.ts';
import { readAll, terminalOf, textOf, type AnyConfigRouter } from '../support/doors.ts';
import { inProcessDoor, lastingDoors } from '../support/every-door.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { ask, plainConfig, serviceForEachTest } from '../support/service.ts';

finishesCleanly();

/** Shows when an attempt has failed and the next one waits. */
class WatchedTelemetry extends Telemetry {
  waits: () => void = () => {};

  override upstreamAttemptFailed(failure: Parameters<Telemetry['upstreamAttemptFailed']>[0]): void {
    super.upstreamAttemptFailed(failure);
    if (failure.retryInMs !== undefined) this.waits();
  }
}
const telemetry = new WatchedTelemetry({ logLevel: 'silent', logContent: false });
const longMs = 3_600_000;
const test = serviceForEachTest({
  telemetry,
  retryTiming: { firstDelayMs: longMs, delayMaxMs: longMs, random: () => 0.5 },
  configs: {
    default: { ...plainConfig, retries: { max: 2, total_ms: 2 * longMs }, timeouts: { total_ms: 3 * longMs } },
  },
});

/** The ways to cancel. The viewer's own connection need not be part of them. */
const cancels: readonly { readonly name: string; cancel(url: string, generationId: string): Promise<string> }[] = [
  {
    name: 'tRPC over HTTP',
    async cancel(url, generationId) {
      const links = [httpLink({ url: `${url}/trpc`, transformer: superjson })];
      return (await createTRPCClient<AnyConfigRouter>({ links }).llm.cancel.mutate({ generationId })).outcome;
    },
  },
  {
    name: 'tRPC over WebSocket',
    async cancel(url, generationId) {
      const client = createWSClient({ url: `${url.replace('http', 'ws')}/trpc`, WebSocket: WebSocket as never });
      const links = [wsLink({ client, transformer: superjson })];
      try {
        return (await createTRPCClient<AnyConfigRouter>({ links }).llm.cancel.mutate({ generationId })).outcome;
      } finally {
        await client.close();
      }
    },
  },
  {
    name: 'REST',
    async cancel(url, generationId) {
      const response = await fetch(`${url}/api/llm/generations/${generationId}`, { method: 'DELETE' });
      return ((await response.json()) as { outcome: string }).outcome;
    },
  },
  {
    name: 'the router in-process',
    async cancel(_url, generationId) {
      return (await test.current.service.core.router.createCaller({}).llm.cancel({ generationId })).outcome;
    },
  },
];

describe.each(cancels)('cancelled by $name', ({ cancel }) => {
  it.each([...lastingDoors, inProcessDoor(() => test.current)])(
    'a viewer over $name is told, upstream is closed, and nothing comes after',
    async (door) => {
      const { url, upstream } = test.current;
      upstream.enqueue({ kind: 'manual' });
      const generationId = crypto.randomUUID();
      const view = door.stream(url, ask('hi', { generationId }));
      const request = await upstream.nextRequest();
      await request.text('half');
      await view.until((event) => event.type === 'text');
      expect(await cancel(url, generationId)).toBe('cancelled');
      // If upstream had not been closed before the answer, this would still arrive.
      await request.text('too late');
      expect(await request.outcome).toBe('client_closed');
      const seen = await readAll(view);
      expect(textOf(seen)).toBe('half');
      expect(terminalOf(seen)).toMatchObject({ type: 'cancelled', reason: 'requested' });
      expect(await cancel(url, generationId)).toBe('already_ended');
    },
  );

  it('a generation that waits for its next attempt ends at once, and there is no next attempt', async () => {
    const { url, upstream } = test.current;
    const waits = new Promise<void>((resolve) => (telemetry.waits = resolve));
    upstream.enqueue({ kind: 'fault', fault: 'overloaded' });
    const generationId = crypto.randomUUID();
    const view = lastingDoors[0]!.stream(url, ask('hi', { generationId }));
    await waits;
    expect(await cancel(url, generationId)).toBe('cancelled');
    expect(terminalOf(await readAll(view))).toMatchObject({ type: 'cancelled', timing: { firstTokenMs: null } });
    expect(upstream.requestCount).toBe(1);
  });
});

it('cancelled at the moment of its end, it has one ending, and everyone who cancelled learns which', async () => {
  const { url, upstream } = test.current;
  const outcomes = new Set<string>();
  for (let turns = 0; turns < 40; turns += 1) {
    upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const view = lastingDoors[1]!.stream(url, ask('hi', { generationId }));
    const request = await upstream.nextRequest();
    await request.text('text');
    await view.until((event) => event.type === 'text');
    const { cancel } = cancels[turns % cancels.length]!;
    const someTurns = async () => {
      for (let turn = 0; turn < turns % 8; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    };
    const asking = turns % 2 === 0 ? someTurns().then(() => cancel(url, generationId)) : cancel(url, generationId);
    if (turns % 2 !== 0) await someTurns();
    request.finish();
    const outcome = await asking;
    const terminal = terminalOf(await readAll(view));
    expect(terminal.type).toBe(outcome === 'cancelled' ? 'cancelled' : 'done');
    outcomes.add(outcome);
  }
  expect(outcomes).toEqual(new Set(['cancelled', 'already_ended']));
});

it('cancelled from everywhere at once, it is cancelled once', async () => {
  const { url, upstream } = test.current;
  upstream.enqueue({ kind: 'manual' });
  const generationId = crypto.randomUUID();
  const view = lastingDoors[0]!.stream(url, ask('hi', { generationId }));
  await upstream.nextRequest();
  const outcomes = await Promise.all(cancels.map(({ cancel }) => cancel(url, generationId)));
  expect(outcomes.every((outcome) => outcome === 'cancelled' || outcome === 'already_ended')).toBe(true);
  expect(outcomes).toContain('cancelled');
  expect(terminalOf(await readAll(view)).type).toBe('cancelled');
  expect(upstream.requestCount).toBe(1);
});

it('a start and a cancel in the same moment end in a terminal event or a refusal, never in a running generation', async () => {
  const { service, upstream, url } = test.current;
  upstream.respondWith({ kind: 'manual' });
  for (let turns = 0; turns < 24; turns += 1) {
    const generationId = crypto.randomUUID();
    const view = lastingDoors[turns % lastingDoors.length]!.stream(url, ask('hi', { generationId }));
    for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    const outcome = await cancels[turns % cancels.length]!.cancel(url, generationId).catch(() => undefined);
    const seen = await readAll(view).catch(() => undefined);
    if (outcome === 'cancelled') expect(terminalOf(seen!).type).toBe('cancelled');
    else expect(seen).toBeUndefined();
    expect(service.core.generations.running).toBe(0);
  }
});
