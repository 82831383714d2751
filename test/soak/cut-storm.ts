/** Cuts connections over and over, in the middle of whatever they carry, while upstream still sends. */
import type { Simulator } from '../../src/simulator.ts';
import { terminalOf, textOf, type Door } from '../support/doors.ts';
import { ask } from '../support/service.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

export interface CutStorm {
  readonly url: string;
  /** All its answers are `manual`. */
  readonly upstream: Simulator;
  readonly door: Door;
  readonly generations: number;
  /** How many cuts fell within bytes that the service had sent at once. */
  readonly cutsPerGeneration: number;
  /** Generations at once. */
  readonly concurrency: number;
}

export interface CutStormResult {
  readonly generations: number;
  readonly cuts: number;
  readonly upstreamRequests: number;
  /** Answers whose text was byte for byte what upstream had sent, with one terminal event at the end, `done`. */
  readonly whole: number;
}

export async function cutStorm(storm: CutStorm): Promise<CutStormResult> {
  const requestsBefore = storm.upstream.requestCount;
  let cuts = 0;
  let whole = 0;
  let left = storm.generations;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const outcome = await cutOne(storm);
      cuts += outcome.cuts;
      if (outcome.whole) whole += 1;
    }
  };
  await Promise.all(Array.from({ length: storm.concurrency }, worker));
  const upstreamRequests = storm.upstream.requestCount - requestsBefore;
  return { generations: storm.generations, cuts, upstreamRequests, whole };
}

async function cutOne({ url, upstream, door, cutsPerGeneration }: CutStorm): Promise<{ cuts: number; whole: boolean }> {
  await using proxy = await startTcpProxy(url);
  // The text says which request it belongs to, because they arrive in any order.
  const generationId = crypto.randomUUID();
  const requested = awaitRequest(upstream, generationId);
  const view = door.stream(proxy.url, ask(generationId, { generationId }));
  const request = await requested;
  let sent = '';
  while (proxy.cutsWithin < cutsPerGeneration) {
    const { cuts } = proxy;
    proxy.cutAfter(1 + Math.floor(Math.random() * 600));
    while (proxy.cuts === cuts) {
      const piece = `${sent.length} tök🙂 `;
      sent += piece;
      await request.text(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  request.finish();
  await view.completed;
  const whole = textOf(view.seen) === sent && terminalOf(view.seen).type === 'done';
  return { cuts: proxy.cutsWithin, whole };
}

type Request = Awaited<ReturnType<Simulator['nextRequest']>>;
const awaited = new WeakMap<Simulator, Map<string, (request: Request) => void>>();

/** The request with this content. */
function awaitRequest(upstream: Simulator, content: string): Promise<Request> {
  let waiting = awaited.get(upstream);
  if (!waiting) {
    const all = new Map<string, (request: Request) => void>();
    awaited.set(upstream, (waiting = all));
    upstream.respondWith((request) => {
      const [message] = request.body.messages;
      const asked = JSON.stringify(message!.content);
      for (const [text, resolve] of all) if (asked.includes(text) && all.delete(text)) resolve(request);
      return { kind: 'manual' };
    });
  }
  const all = waiting;
  return new Promise((resolve) => all.set(content, resolve));
}
