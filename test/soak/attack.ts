/**
 * `npm run soak -- attack`: first all attacks at once against a heap of 500 MB, beside honest callers; then many almost
 * correct inputs from clients and from upstream. Prints one row of a table for each. `ATTACK_SECONDS`,
 * `ATTACK_REQUESTS`, `ATTACK_STREAMS` and `ATTACK_EXTREMES` set how much; `ATTACK_SEED` repeats a run.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator } from '../../src/simulator.ts';
import { answersByHand } from '../support/attack-answers.ts';
import { startHonestCallers } from '../support/attack-honest.ts';
import { keyOf } from '../support/attack-callers.ts';
import { startTarget, type AttackTarget } from '../support/attack-target.ts';
import { startHandUpstream, type Exchange } from '../support/attack-upstream.ts';
import { frame, openWebSocketWire, openWire } from '../support/attack-wire.ts';
import { ask, plainConfig } from '../support/service.ts';
import { attacker, attackKinds, playHostile } from './attack-kinds.ts';
import { extremeStream, fuzzedFrames, fuzzedRequest, mutatedStream } from './fuzz.ts';

export interface AttackPlan {
  readonly seconds: number;
  readonly honest: number;
  /** Requests and frames. */
  readonly requests: number;
  readonly streams: number;
  readonly extremes: number;
  readonly seed: number;
}

export type Report = (what: string, figure: number, bound: number, sense?: 'at most' | 'at least') => void;

const heapMiB = 500;
const MiB = 1 << 20;
/** The heap, and the memory of V8, the sockets and the code beside it. */
const peakBytesMax = (heapMiB + 400) * MiB;
const atOnce = 32;
const framesPerSocket = 20;
/** How long one request may stay without an answer or a close. */
const hangMs = 60_000;
/** One round of an attack is given up after this time, and the next one begins. */
const roundMs = 15_000;

export function planFrom(env: Readonly<Record<string, string | undefined>>): AttackPlan {
  const number = (name: string, otherwise: number) => Number(env[name] ?? otherwise);
  return {
    seconds: number('ATTACK_SECONDS', 60),
    honest: number('ATTACK_HONEST', 50),
    requests: number('ATTACK_REQUESTS', 200_000),
    streams: number('ATTACK_STREAMS', 20_000),
    extremes: number('ATTACK_EXTREMES', 2_000),
    seed: number('ATTACK_SEED', Date.now() % 2 ** 31),
  };
}

/** Only the streams of upstream, in a few minutes. */
export async function fuzzSoak(plan: AttackPlan, report: Report): Promise<void> {
  console.log(`ATTACK_SEED=${plan.seed}`);
  await streamsOf(plan, report);
}

/** Each part runs in its own process, so that a part which kills its process doesn't hide the others. */
export async function attackSoak(plan: AttackPlan, report: Report): Promise<void> {
  process.env['ATTACK_REPORT'] = '1';
  console.log(`ATTACK_SEED=${plan.seed}`);
  const parts: Readonly<Record<string, () => Promise<void>>> = {
    'all attacks at once': () => allAtOnce(plan, report),
    'fuzzed requests': () => requestsOf(plan, report),
    'mutated streams': () => streamsOf(plan, report),
  };
  for (const [name, part] of Object.entries(parts)) {
    try {
      await part();
    } catch (error) {
      report(`${name}: ${(error as Error).message}`, 1, 0);
    }
  }
}

// ------------------------------------------------------------------------------------------------------- all at once

async function allAtOnce({ seconds, honest: number }: AttackPlan, report: Report): Promise<void> {
  await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  await using hostile = await startHandUpstream();
  hostile.script = playHostile;
  await using target = await startTarget({
    upstreamUrl: upstream.url,
    heapMiB,
    callers: ['ada', attacker],
    configs: { default: plainConfig, hostile: { ...plainConfig, base_url: hostile.url, retries: { max: 0 } } },
  });
  const { url } = target;
  const answers = new Map<string, Map<string, number>>();
  const toll = await target
    .withstands(
      `all attacks at once for ${seconds} s`,
      async (signal) => {
        const honest = await startHonestCallers({ url, upstream, number, token: keyOf('ada'), signal });
        const until = performance.now() + seconds * 1_000;
        await Promise.all(
          Object.entries(attackKinds).map(async ([name, attack]) => {
            const counts = new Map<string, number>();
            answers.set(name, counts);
            while (performance.now() < until && !signal.aborted) {
              const round = AbortSignal.any([signal, AbortSignal.timeout(roundMs)]);
              setMaxListeners(0, round);
              const answered = await attack(url, round).catch(String);
              counts.set(answered, (counts.get(answered) ?? 0) + 1);
            }
          }),
        );
        return honest.finish();
      },
      (seconds + 60) * 1_000,
    )
    .finally(() => {
      for (const [name, counts] of answers) {
        const told = [...counts].map(([answered, times]) => `${answered} ×${times}`).join(', ');
        console.log(`| ${name} | ${told} | | |`);
      }
    });
  for (const failure of toll.result.failures) console.log(`  an honest caller: ${failure}`);
  report('all at once: honest answers whole', toll.result.whole, number, 'at least');
  report('all at once: peak of memory', toll.peakBytes, peakBytesMax);
}

// ------------------------------------------------------------------------------------------------------------- fuzzing

async function requestsOf({ requests, seed }: AttackPlan, report: Report): Promise<void> {
  await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  upstream.respondWith({ kind: 'text', text: 'hello' });
  await using target = await startTarget({ upstreamUrl: upstream.url, heapMiB });
  const hangs: number[] = [];
  const one = async (number: number, signal: AbortSignal) => {
    const ended =
      number % 2 === 0 ? await overHttp(target, seed, number, signal) : await overSocket(target, seed, number, signal);
    if (!ended && !signal.aborted) hangs.push(number);
  };
  // Every second number is a socket with this many frames.
  const numbers = Math.ceil((2 * requests) / (1 + framesPerSocket));
  const toll = await target.withstands(
    `${requests} fuzzed requests and frames`,
    (signal) => inParallel(numbers, (number) => one(number, signal)),
    hangMs + requests * 20,
  );
  if (hangs.length > 0) console.log(`  no end: numbers ${hangs.slice(0, 20).join(', ')}`);
  report('fuzzed requests: without an end', hangs.length, 0);
  report('fuzzed requests: peak of memory', toll.peakBytes, peakBytesMax);
  report('fuzzed requests: left running', toll.after.running, 0);
}

/** Whether the request was answered or closed. */
async function overHttp({ url }: AttackTarget, seed: number, number: number, signal: AbortSignal): Promise<boolean> {
  const wire = await openWire(url, signal);
  const request = fuzzedRequest(seed, number);
  await wire.flood([request], { untilAnswered: true });
  // The client sends nothing more, so the service has no reason to wait for missing bytes that were announced.
  wire.socket.end();
  await wire.until(() => false, hangMs);
  return wire.isClosed;
}

async function overSocket({ url }: AttackTarget, seed: number, number: number, signal: AbortSignal): Promise<boolean> {
  const wire = await openWebSocketWire(url, signal);
  if (!wire) return true;
  await wire.flood([fuzzedFrames(seed, number, framesPerSocket)]);
  wire.write(frame(Buffer.from([0x03, 0xe8]), 8));
  wire.socket.end();
  await wire.until(() => false, hangMs);
  return wire.isClosed;
}

async function streamsOf({ streams, extremes, seed }: AttackPlan, report: Report): Promise<void> {
  await using upstream = await startHandUpstream();
  upstream.script = (exchange) => playNumber(exchange, seed);
  const timeouts = { first_byte_ms: 20_000, idle_ms: 20_000, total_ms: 40_000 };
  await using target = await startTarget({
    upstreamUrl: upstream.url,
    heapMiB,
    // Small, so that two thousand endless answers reach it within minutes.
    env: { LLM_LOG_BYTES_MAX: `${4 * MiB}` },
    configs: { default: { ...plainConfig, retries: { max: 0 }, timeouts } },
  });
  const wrong: string[] = [];
  const one = async (kind: 'mutated' | 'extreme', number: number, signal: AbortSignal) => {
    // Only over HTTP can a test see the ends of long answers.
    const doors = ['rest', 'sse', ...(kind === 'mutated' ? (['websocket'] as const) : [])] as const;
    const door = doors[number % doors.length]!;
    const events = await answersByHand[door](target.url, ask(`${kind} ${number};`), signal, hangMs);
    const ends = events.filter(({ type }) => type === 'done' || type === 'error' || type === 'cancelled');
    if (ends.length !== 1 && !signal.aborted) wrong.push(`${kind} ${number}: ${ends.length} ends over ${door}`);
  };
  for (const [kind, count] of [
    ['mutated', streams],
    ['extreme', extremes],
  ] as const) {
    const toll = await target.withstands(
      `${count} ${kind} streams of upstream`,
      (signal) => inParallel(count, (number) => one(kind, number, signal)),
      hangMs + count * 100,
    );
    report(`${kind} streams: without one end`, wrong.length, 0);
    report(`${kind} streams: left running`, toll.after.running, 0);
    report(`${kind} streams: peak of memory`, toll.peakBytes, peakBytesMax);
    for (const each of wrong.splice(0).slice(0, 20)) console.log(`  ${each}`);
  }
}

function playNumber({ body, write, pour, response, socket }: Exchange, seed: number): void {
  const [, kind, digits] = /(mutated|extreme) (\d+);/.exec(body)!;
  const number = Number(digits);
  if (kind === 'extreme') return void pour(extremeStream(seed, number));
  const bytes = mutatedStream(seed, number);
  // Unchanged, cut off, or in two pieces between any two bytes.
  const at = number % (bytes.length + 1);
  void (async () => {
    await write(bytes.subarray(0, at));
    if (number % 5 === 0) return socket.destroy();
    await delay(number % 2);
    await write(bytes.subarray(at));
    return response.end();
  })();
}

async function inParallel(count: number, run: (number: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await run((next += 1));
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
