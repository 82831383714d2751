/**
 * How long it takes until upstream's socket is closed: after a cancel, after a lost viewer, and after the SDK's own
 * abort.
 */
import Anthropic from '@anthropic-ai/sdk';
import type { SimulatorRequest } from '../../src/simulator.ts';
import type { Door } from '../support/doors.ts';
import { ask, plainConfig, startTestService } from '../support/service.ts';

/** Milliseconds, one for each round, in ascending order. */
export type Latencies = readonly number[];

export interface CancelLatency {
  /** `abort()` of a stream of `@anthropic-ai/sdk` on the same upstream. */
  readonly bareAbort: Latencies;
  /** From the request to cancel, by the door's client. */
  readonly cancel: Latencies;
  /** From the moment when the only viewer leaves, minus the config's grace time. */
  readonly leave: Latencies;
}

const graceMs = 20;
/** Rounds that don't count, in which V8 compiles the code. */
const warmUpRounds = 30;

export async function cancelLatency(door: Door, rounds: number): Promise<CancelLatency> {
  await using service = await startTestService({
    configs: { default: plainConfig, leaves: { ...plainConfig, on_disconnect: { cancel_after_ms: graceMs } } },
  });
  const { upstream, url } = service;
  upstream.respondWith({ kind: 'manual' });
  const sdk = new Anthropic({ apiKey: 'sk-test', baseURL: upstream.url, maxRetries: 0 });
  const bareAbort: number[] = [];
  const cancel: number[] = [];
  const leave: number[] = [];

  // In turns, so that other work on the machine affects all of them alike.
  for (let round = 0; round < warmUpRounds + rounds; round += 1) {
    const abort = new AbortController();
    const asked = { model: plainConfig.model, max_tokens: 10, stream: true as const, messages: ask('hi').messages };
    const [request, stream] = await Promise.all([
      begun(upstream.nextRequest()),
      sdk.messages.create(asked, { signal: abort.signal }),
    ]);
    const reading = (async () => {
      for await (const _ of stream);
    })().catch(() => {});
    bareAbort.push(await untilClosed(request, () => abort.abort()));
    await reading;

    const generationId = crypto.randomUUID();
    const cancelled = door.stream(url, ask('hi', { generationId }));
    const answering = await begun(upstream.nextRequest());
    await cancelled.until((event) => event.type === 'text');
    const word = () => fetch(`${url}/api/llm/generations/${generationId}`, { method: 'DELETE' });
    cancel.push(await untilClosed(answering, word));
    await cancelled.completed;

    const left = door.stream(url, ask('hi', { config: 'leaves', generationId: crypto.randomUUID() }));
    const unheard = await begun(upstream.nextRequest());
    await left.until((event) => event.type === 'text');
    leave.push((await untilClosed(unheard, () => left.close())) - graceMs);
  }
  return { bareAbort: counted(bareAbort), cancel: counted(cancel), leave: counted(leave) };
}

/** Once it has sent something. */
async function begun(request: Promise<SimulatorRequest>): Promise<SimulatorRequest> {
  await (await request).text('text');
  return request;
}

async function untilClosed(request: SimulatorRequest, word: () => unknown): Promise<number> {
  const startedAt = performance.now();
  const saying = word();
  await request.outcome;
  const ms = request.closedAt! - startedAt;
  await saying;
  return ms;
}

function counted(values: number[]): Latencies {
  return values.slice(warmUpRounds).toSorted((a, b) => a - b);
}

/** Takes values in ascending order. */
export function percentile(values: Latencies, percent: number): number {
  return values[Math.min(values.length - 1, Math.floor((values.length * percent) / 100))]!;
}
