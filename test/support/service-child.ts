/**
 * A service in a process of its own, for tests that measure its memory, keep it busy or kill it. service-process.ts
 * runs it and sends it orders. Its settings and configs are in the environment.
 */
import { Socket } from 'node:net';
import { z } from 'zod';
import { startWithParts, type CoreOptions } from '../../src/service.ts';
import { readSettings } from '../../src/settings/settings.ts';
import type { LlmEvent, StreamRequest } from '../../src/protocol.ts';
import { tool } from '../../src/tools/tool.ts';
import type { Effort, Held, Order } from './service-process.ts';

const { TEST_CONFIGS = '{}', TEST_REDIS_TIMING = '{}', TEST_TOOL_URL, ...env } = process.env;
const configs = JSON.parse(TEST_CONFIGS) as Record<string, object>;
const service = await startWithParts({
  settings: readSettings(env),
  env,
  configs:
    TEST_TOOL_URL === undefined
      ? configs
      : { ...configs, calls: { ...configs['default'], tools: { knock: knock(TEST_TOOL_URL) } } },
  redisTiming: JSON.parse(TEST_REDIS_TIMING) as NonNullable<CoreOptions['redisTiming']>,
});
const { core } = service;
const signal = new AbortController().signal;
/** A tool that sends a request to this address, and waits for a response. */
function knock(url: string) {
  const execute = async () => (await fetch(url)).text();
  return tool({ description: 'Knocks', input: z.object({}), execute });
}

let watch: TurnWatch | undefined;
let held: AsyncIterator<readonly [string, LlmEvent], unknown> | undefined;

process.on('message', (order: Order) => void carryOut(order).then((answer) => process.send!(answer ?? null)));
process.on('disconnect', () => process.exit());
process.send!(service.url);

async function carryOut(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'measure':
      return measure();
    case 'effort':
      return effort();
    case 'calibrate':
      return calibrate();
    case 'stay-busy':
      for (const until = performance.now() + order.ms; performance.now() < until;);
      break;
    case 'hold':
      held = await view(order.request);
      return (await held.next()).done;
    case 'read-on':
      return readOn();
    case 'start-and-abort':
      for (let cycle = 0; cycle < order.cycles; cycle += 1) {
        const abort = new AbortController();
        const events = await view(order.request, abort.signal);
        await events.next();
        abort.abort();
        await events.next();
        // Generations without viewers end by their disconnect clock, for which the event loop must turn.
        while (core.generations.running > 8) await new Promise((resolve) => setImmediate(resolve));
      }
  }
  return undefined;
}

/** A viewer within the process, as a host has it. */
async function view(request: StreamRequest, until: AbortSignal = signal) {
  const events = await core.router.createCaller({}, { signal: until }).llm.stream(request as never);
  return (events as unknown as AsyncIterable<readonly [string, LlmEvent]>)[Symbol.asyncIterator]();
}

async function readOn(): Promise<string> {
  let text = '';
  for (let next = await held!.next(); !next.done; next = await held!.next()) {
    if (next.value[1].type === 'text') text += next.value[1].text;
  }
  held = undefined;
  return text;
}

async function measure(): Promise<Held> {
  // Runs twice, with turns between: the second collection frees what finalizers released after the first.
  for (let round = 0; round < 3; round += 1) {
    globalThis.gc!();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = process.memoryUsage();
  const { _getActiveHandles } = process as unknown as { _getActiveHandles(): unknown[] };
  const sockets = _getActiveHandles().filter((handle) => handle instanceof Socket);
  return {
    bytes: heapUsed + external,
    logsBytes: core.logs.bytes,
    callersBytes: core.held.total,
    running: core.generations.running,
    viewers: core.access.load.viewers,
    sockets: sockets.length,
    unsentBytes: sockets.reduce((sum, { writableLength }) => sum + writableLength, 0),
    timers: process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length,
  };
}

/** Starts to watch at the first question, so that its timer doesn't count in tests that never ask. */
function effort(): Effort {
  watch ??= new TurnWatch();
  return watch.look();
}

/**
 * CPU time by turns of the event loop. Wall time would include the machine's other processes. CPU time includes all
 * threads of this process, so a turn with much garbage looks slightly longer than it is.
 */
class TurnWatch {
  #begunAt = process.cpuUsage();
  #tickedAt = this.#begunAt;
  #longestTurnMs = 0;

  constructor() {
    setInterval(() => this.#tick(), 10).unref();
  }

  look(): Effort {
    this.#tick();
    const spent = { longestTurnMs: this.#longestTurnMs, cpuMs: msOf(process.cpuUsage(this.#begunAt)) };
    this.#longestTurnMs = 0;
    this.#begunAt = process.cpuUsage();
    return spent;
  }

  #tick(): void {
    this.#longestTurnMs = Math.max(this.#longestTurnMs, msOf(process.cpuUsage(this.#tickedAt)));
    this.#tickedAt = process.cpuUsage();
  }
}

/** The fastest of some rounds: in the others, the machine did other work. */
function calibrate(): number {
  const json = JSON.stringify(Array.from({ length: 20_000 }, (_, index) => ({ index, text: `${index}`.repeat(8) })));
  let quickestMs = Infinity;
  for (let round = 0; round < 10; round += 1) {
    const startedAt = process.cpuUsage();
    JSON.stringify(JSON.parse(json));
    quickestMs = Math.min(quickestMs, msOf(process.cpuUsage(startedAt)));
  }
  return quickestMs;
}

function msOf({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1_000;
}
