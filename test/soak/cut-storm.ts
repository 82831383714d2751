/** Connections that are cut in the middle of whatever they carry, while upstream still speaks, over and over. */
import type { Simulator } from '../../src/simulator.ts';
import { terminalOf, textOf, type Door } from '../support/doors.ts';
import { ask } from '../support/service.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

export interface CutStorm {
  readonly url: string;
  /** Whose answers are all `manual`. */
  readonly upstream: Simulator;
  readonly door: Door;
  readonly generations: number;
  /** Each falls between the bytes of what the service sent at once. */
  readonly cutsPerGeneration: number;
  /** Generations at once. */
  readonly concurrency: number;
}

export interface CutStormResult {
  readonly generations: number;
  readonly cuts: number;
  readonly upstreamRequests: number;
  /** Answers whose text was what upstream had sent, byte for byte, with one terminal event, `done`, at its end. */
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
  // The text tells whose request it is: they arrive in any order.
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

/** The request that asks with this content. */
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
