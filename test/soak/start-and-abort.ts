/** Starts very many generations and leaves each at once. Measures what the service holds when all are gone. */
import { on, once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { WebSocket } from 'ws';
import { startSimulator } from '../../src/simulator.ts';
import { ask, plainConfig } from '../support/service.ts';
import { measureAtRest, startServiceProcess, type Held, type ServiceProcess } from '../support/service-process.ts';

export const startAndAbortDoors = ['sse', 'websocket', 'rest', 'in-process'] as const;
export type StartAndAbortDoor = (typeof startAndAbortDoors)[number];

export interface StartAndAbortResult {
  /** How much more the process holds than after its warm-up. */
  readonly bytesMore: number;
  readonly before: Held;
  readonly after: Held;
}

/** Without kept logs. A tenth of the cycles warms each door up. */
export async function startAndAbort(door: StartAndAbortDoor, cycles: number): Promise<StartAndAbortResult> {
  await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  upstream.respondWith({ kind: 'manual' });
  await using service = await startServiceProcess({
    upstreamUrl: upstream.url,
    env: { LLM_LOG_RETENTION_MS: '0', LLM_STARTS_PER_MINUTE_MAX: '10000000' },
    configs: { default: { ...plainConfig, on_disconnect: { cancel_after_ms: 1 } } },
  });
  await run[door](service, Math.ceil(cycles / 10));
  const before = await idle(service);
  await run[door](service, cycles);
  const after = await idle(service);
  return { bytesMore: after.bytes - before.bytes, before, after };
}

/** When nothing runs, and idle connections to upstream are closed. */
function idle(service: ServiceProcess): Promise<Held> {
  return measureAtRest(service, ({ running, viewers }) => running === 0 && viewers === 0);
}

const concurrency = 8;

const run: Readonly<Record<StartAndAbortDoor, (service: ServiceProcess, cycles: number) => Promise<void>>> = {
  sse: ({ url }, cycles) => overHttp(`${url}/trpc/llm.stream`, () => ({ json: ask('hi') }), cycles),
  rest: ({ url }, cycles) => overHttp(`${url}/api/llm/process_stream/default`, () => ask('hi'), cycles),
  websocket: ({ url }, cycles) => inParallel(cycles, (share) => overWebSocket(url, share)),
  'in-process': (service, cycles) => service.startAndAbort(ask('hi'), cycles),
};

async function inParallel(cycles: number, runShare: (share: number) => Promise<void>): Promise<void> {
  const share = Math.ceil(cycles / concurrency);
  await Promise.all(Array.from({ length: concurrency }, () => runShare(share)));
}

async function overHttp(url: string, body: () => object, cycles: number): Promise<void> {
  const agent = new Agent();
  await inParallel(cycles, async (share) => {
    for (let cycle = 0; cycle < share; cycle += 1) {
      const request = httpRequest(url, {
        method: 'POST',
        agent,
        headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
      });
      request.on('error', () => {});
      request.end(JSON.stringify(body()));
      const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream];
      await once(response, 'data');
      request.destroy();
      await once(request, 'close');
    }
  });
}

async function overWebSocket(url: string, cycles: number): Promise<void> {
  const webSocket = new WebSocket(`${url.replace('http', 'ws')}/trpc`);
  const messages = on(webSocket, 'message') as AsyncIterableIterator<[Buffer]>;
  await once(webSocket, 'open');
  const until = async (part: string) => {
    for (;;) {
      const text = (await messages.next()).value[0].toString();
      if (text === 'PING') webSocket.send('PONG');
      else if (text.includes(part)) return;
    }
  };
  for (let id = 0; id < cycles; id += 1) {
    const params = { path: 'llm.stream', input: { json: ask('hi') } };
    webSocket.send(JSON.stringify({ id, method: 'subscription', params }));
    await until('"start"');
    webSocket.send(JSON.stringify({ id, method: 'subscription.stop' }));
    await until('"stopped"');
  }
  await messages.return!();
  webSocket.close();
  await once(webSocket, 'close');
}
