/** An LLMService in front of a simulator, with what a test needs to examine one answer. */
import { parseConfigs, type Config } from '../../src/configs/configs.ts';
import { LLMService, type LlmServiceOptions } from '../../src/upstream/llm-service.ts';
import { isTerminal, type LlmEvent, type Message, type TerminalEvent } from '../../src/protocol.ts';
import { startSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator.ts';
import type { AttemptFailure } from '../../src/telemetry/telemetry.ts';
import type { UpstreamAddress } from '../../src/upstream/address/upstream-address.ts';

export const hello: readonly Message[] = [{ role: 'user', content: 'Hello' }];

const minimal = { model: 'claude-sonnet-5-5', max_tokens: 100_000, system_prompt: 'You are a test.' };

/** A config called `test` with these keys, as a config file has them. Other configs by name, for fallbacks. */
export function testConfig(keys: object = {}, others: Readonly<Record<string, object>> = {}): Config {
  const all = Object.entries({ test: keys, ...others }).map(([name, each]) => [name, { ...minimal, ...each }]);
  return parseConfigs(Object.fromEntries(all)).get('test')!;
}

/** An answer, taken apart. */
export interface Heard {
  readonly events: readonly LlmEvent[];
  readonly text: string;
  readonly terminal: TerminalEvent;
}

export interface Bench extends AsyncDisposable {
  readonly simulator: Simulator;
  readonly llm: LLMService;
  /** The failures that telemetry has recorded. */
  readonly failures: readonly AttemptFailure[];
  /** Resolves when telemetry records another one. */
  nextFailure(): Promise<void>;
  stream(config: Config, signal?: AbortSignal, messages?: readonly Message[]): AsyncGenerator<LlmEvent[]>;
  /** All events of an answer. Fails unless its one terminal event is the last. */
  hear(config: Config, signal?: AbortSignal, messages?: readonly Message[]): Promise<Heard>;
}

export interface BenchOptions extends Pick<Partial<LlmServiceOptions>, 'retryTiming'> {
  readonly simulator?: SimulatorOptions;
  /** Replaces parts of the simulator's address. */
  readonly address?: (config: Config) => Partial<UpstreamAddress>;
}

/** Retries happen at once unless a test sets other delays. */
const noDelay = { firstDelayMs: 0, delayMaxMs: 0, random: () => 0 };

export async function startBench({
  simulator: options,
  address,
  retryTiming = noDelay,
}: BenchOptions = {}): Promise<Bench> {
  const simulator = await startSimulator({ tokensPerSecond: 'unpaced', docs: [], ...options });
  const failures: AttemptFailure[] = [];
  const internalErrors: unknown[] = [];
  const waiting: (() => void)[] = [];
  const llm = new LLMService({
    resolveUpstream: (config) => ({ baseUrl: simulator.url, simulated: true, ...address?.(config) }),
    telemetry: {
      upstreamAttemptFailed(failure) {
        failures.push(failure);
        for (const wake of waiting.splice(0)) wake();
      },
      upstreamAttempted: () => {},
      internalError: (_where, error) => void internalErrors.push(error),
    },
    retryTiming,
  });
  const stream: Bench['stream'] = (config, signal = new AbortController().signal, messages = hello) =>
    llm.stream({ config, messages, variables: {} }, signal);
  return {
    simulator,
    llm,
    failures,
    nextFailure: () => new Promise((resolve) => void waiting.push(resolve)),
    stream,
    async hear(...request) {
      const events: LlmEvent[] = [];
      for await (const batch of stream(...request)) events.push(...batch);
      return takeApart(events);
    },
    async [Symbol.asyncDispose]() {
      await llm[Symbol.asyncDispose]();
      await simulator[Symbol.asyncDispose]();
      if (internalErrors.length > 0) throw internalErrors[0];
    },
  };
}

export function takeApart(events: readonly LlmEvent[]): Heard {
  const terminals = events.filter(isTerminal);
  const [terminal] = terminals;
  if (!terminal || terminals.length > 1 || events.at(-1) !== terminal) {
    throw new Error(`expected one terminal event, and that last: ${events.map(({ type }) => type).join(', ')}`);
  }
  return { events, terminal, text: events.map((event) => (event.type === 'text' ? event.text : '')).join('') };
}
