/** A hundred starts at once against a budget of one dollar, on one instance or on several. Every answer costs 25 cents. */
import type { Simulator } from '../../src/simulator.ts';
import { doors, readAll, refusalOf, terminalOf, type View } from './doors.ts';
import { until } from './eventually.ts';
import { ask, plainConfig, type TestService } from './service.ts';

/** The places of a caller: how many of its generations may run at once, on all instances. */
export const places = 10;
const answerDollars = 0.25;
const starts = 100;

/** An output token costs 25 cents. */
export const racingConfigs = {
  default: { ...plainConfig, price: { input: 0, output: answerDollars * 1e6, cache_write: 0, cache_read: 0 } },
};
export const racingEnv = { LLM_COST_PER_CALLER_PER_DAY_MAX: '1', LLM_GENERATIONS_PER_CALLER_MAX: `${places}` };

const end = { usage: { output_tokens: 1 } };

export interface Racers {
  readonly services: readonly TestService[];
  /** The upstream of all of them. */
  readonly upstream: Simulator;
  readonly key: string;
}

/** What is spent where answers end while others are started. Each start is answered, or refused as `rate_limited`. */
export async function spentInRace({ services, upstream, key }: Racers): Promise<number> {
  upstream.respondWith(() => ({ kind: 'text', text: 'an answer', ...end }));
  const views = startAll(services, key, starts);
  return dollarsOf(views);
}

/**
 * What is spent at worst: one answer is left of the dollar when all places are taken, and none of these answers ends before all other
 * starts are refused. To be called before anything else was started.
 */
export async function spentAtWorst({ services, upstream, key }: Racers): Promise<number> {
  upstream.respondWith(() => ({ kind: 'text', text: 'an answer', ...end }));
  const before: View[] = [];
  for (let at = 0; at < 3; at += 1) {
    const [view] = startAll([services[at % services.length]!], key, 1);
    await readAll(view!);
    before.push(view!);
  }
  // The place of an answer that has just ended is given back a moment later.
  await until(() => services.every(({ service }) => service.core.access.load.generations === 0));
  upstream.respondWith(() => ({ kind: 'manual' }));
  const running: View[] = [];
  for (let at = 0; at < places; at += 1) {
    const [view] = startAll([services[at % services.length]!], key, 1);
    await view!.until(({ type }) => type === 'start');
    running.push(view!);
  }
  const others = startAll(services, key, starts - places);
  let refused = 0;
  for (const { completed } of others) completed.catch(() => (refused += 1));
  await until(() => refused === others.length && upstream.requestCount === before.length + places);
  for (const request of upstream.requests.slice(-places)) request.finish('end_turn', end);
  return dollarsOf([...before, ...running, ...others]);
}

/** By turns on each of the services. Over REST, where a refusal is soonest seen. */
function startAll(services: readonly TestService[], key: string, count: number): View[] {
  const rest = doors.find(({ name }) => name === 'rest')!;
  return Array.from({ length: count }, (_, at) => rest.stream(services[at % services.length]!.url, ask('hi'), key));
}

/** @throws Error for a view that was refused otherwise than as `rate_limited`, or that has ended otherwise than with `done`. */
async function dollarsOf(views: readonly View[]): Promise<number> {
  let dollars = 0;
  for (const view of views) {
    if (
      await view.completed.then(
        () => true,
        () => false,
      )
    ) {
      const terminal = terminalOf(view.seen);
      if (terminal.type !== 'done') throw new Error(JSON.stringify(terminal));
      dollars += terminal.costUsd ?? NaN;
    } else {
      const refusal = await refusalOf(view);
      if (refusal.code !== 'rate_limited') throw new Error(refusal.message);
    }
  }
  return dollars;
}
