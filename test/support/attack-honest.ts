/** Honest callers beside an attack: each streams an answer by the typed client all the while, and must have it whole. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Reply, Simulator, SimulatorRequest } from '../../src/simulator.ts';
import { createLlmClient } from '../../src/client.ts';
import type { AnyConfigRouter } from './doors.ts';
import { ask } from './service.ts';

export interface HonestCallers {
  /** Lets upstream end the answers, and gives how many came whole; and why not, of those that did not. */
  finish(): Promise<{ readonly whole: number; readonly failures: readonly string[] }>;
}

const pieceMs = 50;
const word = 'honest caller ';

/**
 * Settles once all of them have begun. The simulator answers them piece by piece, and others as they are to be answered.
 */
export async function startHonestCallers(options: {
  readonly url: string;
  readonly upstream: Simulator;
  readonly number: number;
  readonly token?: string;
  readonly signal: AbortSignal;
  readonly others?: Reply;
}): Promise<HonestCallers> {
  const { url, upstream, number, token, signal, others = { kind: 'text', text: 'hello' } } = options;
  const done = new AbortController();
  const sent = new Map<string, string>();
  upstream.respondWith((request) => {
    const asked = JSON.stringify(request.body.messages[0]!.content);
    const who = /honest caller \d+;/.exec(asked)?.[0];
    if (who === undefined) return others;
    void speak(request, done.signal, (piece) => sent.set(who, (sent.get(who) ?? '') + piece));
    return { kind: 'manual' };
  });
  const answers = Array.from({ length: number }, async (_, index) => {
    const who = `${word}${index};`;
    const transport = index % 2 === 0 ? 'sse' : 'ws';
    await using client = createLlmClient<AnyConfigRouter>({ url, transport, token, fetch: unkept });
    const text = await client.stream(ask(who), { signal }).text();
    if (text !== sent.get(who)) throw new Error(`${text.length} of ${sent.get(who)?.length} characters`);
  });
  // Whoever fails before all have begun is counted in the end.
  for (const answer of answers) answer.catch(() => {});
  while (sent.size < number && !signal.aborted) await delay(pieceMs, undefined, { signal }).catch(() => {});
  return {
    async finish() {
      done.abort();
      const ends = await Promise.allSettled(answers);
      const failures = ends.flatMap((end) => (end.status === 'rejected' ? [String(end.reason)] : []));
      return { whole: number - failures.length, failures };
    },
  };
}

/** On connections of their own, which nothing keeps open after the test. */
const unkept: typeof fetch = (input, init) => {
  const headers = new Headers(init?.headers);
  headers.set('connection', 'close');
  return fetch(input, { ...init, headers });
};

async function speak(request: SimulatorRequest, until: AbortSignal, said: (piece: string) => void): Promise<void> {
  let over = false;
  void request.outcome.then(() => (over = true));
  for (let index = 0; !until.aborted && !over; index += 1) {
    const piece = `${index} tök🙂 `;
    said(piece);
    await request.text(piece);
    await delay(pieceMs, undefined, { signal: until }).catch(() => {});
  }
  request.finish();
}
