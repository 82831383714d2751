import { expect, it } from 'vitest';
import { faults, type Reply, type FaultName, type SimulatorRequest } from '../src/simulator.ts';
import { createRandom, type Random } from '../src/simulator/random.ts';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';

finishesCleanly();

const seed = 20_261_123;
const generations = 500;
const atOnce = 50;
/** Of what the simulator sent, where usage is an estimate. */
const tolerance = 0.05;

const patient = { first_byte_ms: 60_000, idle_ms: 60_000, total_ms: 60_000 };
/** Configs that meet nothing but these, since on a busy machine anything could be late for their timeouts. */
const stalls: Readonly<Record<string, readonly FaultName[]>> = {
  wants_a_start: ['stall_first_byte', 'stall_headers'],
  wants_more: ['stall_mid_stream', 'stall_with_pings'],
};
const others = faults.map(({ name }) => name).filter((name) => !Object.values(stalls).flat().includes(name));
const configs = ['default', 'falls_back', 'default', 'falls_back', 'wants_a_start', 'wants_more'] as const;
const configOf = (number: number) => configs[Math.trunc(number / doors.length) % configs.length]!;

const test = serviceForEachTest({
  configs: {
    default: { ...plainConfig, timeouts: patient },
    falls_back: { ...plainConfig, timeouts: patient, retries: { max: 1 }, fallback: 'default' },
    wants_a_start: { ...plainConfig, timeouts: { ...patient, first_byte_ms: 200 } },
    wants_more: { ...plainConfig, timeouts: { ...patient, idle_ms: 1_000 } },
  },
});

it(`of ${generations} generations under random faults, each has one ending and its true bill`, async () => {
  const { url, upstream } = test.current;
  const plans = Array.from({ length: generations }, (_, number) => createRandom(seed, number));
  const requestsOf = plans.map((): SimulatorRequest[] => []);
  upstream.respondWith((request) => {
    const number = Number(request.body.messages[0]!.content);
    requestsOf[number]!.push(request);
    return randomReply(plans[number]!, stalls[configOf(number)] ?? others);
  });

  const told = { exact: 0, estimated: 0 };
  const sent = { exact: 0, estimated: 0 };
  const endings = new Set<string>();
  async function run(number: number): Promise<void> {
    const door = doors[number % doors.length]!;
    const seen = await readAll(door.stream(url, ask(String(number), { config: configOf(number) })));
    const terminal = terminalOf(seen);
    const requests = requestsOf[number]!;
    endings.add(terminal.type === 'error' ? terminal.code : terminal.type);

    const { inputTokens, outputTokens, estimated } = terminal.usage;
    const kind = estimated ? 'estimated' : 'exact';
    told[kind] += inputTokens + outputTokens;
    const started = requests.filter(({ usage }) => usage !== undefined);
    for (const { usage, tokensSent } of started) sent[kind] += Number(usage!['input_tokens']) + tokensSent;
    // Only the last attempt can have put anything out.
    for (const request of requests.slice(0, -1)) expect(request.tokensSent).toBe(0);
    if (started.length > 0) expect(textOf(seen)).toMatch(/^(tök🙂 )*$/);
  }

  const waiting = plans.keys();
  const runNext = async () => {
    for (const number of waiting) await run(number);
  };
  await Promise.all(Array.from({ length: atOnce }, runNext));

  expect(told.exact).toBe(sent.exact);
  expect(Math.abs(told.estimated - sent.estimated)).toBeLessThanOrEqual(sent.estimated * tolerance);
  // The storm was one: bills of both kinds, and most of the ways to end.
  expect(Math.min(sent.exact, sent.estimated)).toBeGreaterThan(1_000);
  expect(endings.size).toBeGreaterThanOrEqual(7);
});

/** One of the faults, or among others one time in three an answer; with up to 100 deltas of text. */
function randomReply(random: Random, names: readonly FaultName[]): Reply {
  const text = Array.from({ length: 1 + (random() % 100) }, () => 'tök🙂 ');
  if (names === others && random() % 3 === 0) return { kind: 'text', text };
  const fault = names[random() % names.length]!;
  const args: Readonly<Record<string, number>> = { slow: 1, rate_limited_retry_after: 0.01 };
  return { kind: 'fault', fault, text, arg: args[fault] ?? 20 };
}
