/**
 * Counts what happens in a service, as metrics in a registry of prom-client. Telemetry calls it for each thing that happens, and a
 * scrape asks for the numbers of its moment. It is never called for a token, and no label has a value that a client or a model chose.
 */
import { createRequire } from 'node:module';
import type * as PromClient from 'prom-client';
import type { Counter, Histogram, Registry } from 'prom-client';
import type { ErrorCode, TerminalEvent } from '../protocol.ts';
import type { RefusalDoor } from './refusal-lines.ts';

/** How an attempt ended: `cancelled` where this service closed it early, for a cancel or because the log was full. */
export type AttemptCode = 'ok' | 'cancelled' | ErrorCode;

/** What Telemetry has counted. */
export interface Counters {
  generationEnded(terminal: TerminalEvent): void;
  upstreamAttempted(config: string, code: AttemptCode): void;
  refused(door: RefusalDoor, code: ErrorCode): void;
  viewerCame(door: RefusalDoor): void;
  viewerLeft(door: RefusalDoor): void;
  toolCalled(config: string, tool: string, outcome: string): void;
  /** @param removed The names of configs that are gone since the reload before. */
  configsApplied(removed: readonly string[]): void;
  configsRefused(): void;
}

/** What a scrape asks of a service. */
export interface Measured {
  readonly configNames: () => readonly string[];
  readonly generationsRunning: () => number;
  readonly logs: () => number;
  readonly logBytes: () => number;
}

/** The other processes that serve the same port, as one of them sees them. */
export interface Workers {
  /** The number of this one. */
  readonly number: number;
  /** Has others ask for what this one has counted. */
  answerWith(report: () => Promise<unknown>): void;
  /** What all have counted, this one included. Never rejects. */
  reports(): Promise<readonly unknown[]>;
}

/** Metrics as a scraper reads them. */
export interface Exposition {
  readonly contentType: string;
  text(): Promise<string>;
}

const generationsTotal = 'llm_generations_total';
const firstTokenBuckets = [0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];
const generationBuckets = [0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600];
const tokensPerSecondBuckets = [5, 10, 20, 40, 60, 80, 120, 160, 240, 320, 640];
/** The doors by which viewers come. A scrape shows each, so that nobody takes one without viewers for one that is missing. */
const viewerDoors: readonly RefusalDoor[] = [
  'sse',
  'websocket',
  'rest',
  'ui',
  'ag-ui',
  'openai',
  'anthropic',
  'embedded',
];

export class Metrics implements Counters, Exposition {
  readonly #registries: readonly Registry[];
  readonly #generations: Counter<'config' | 'outcome' | 'code'>;
  /** Open viewers by door. A scrape reads them, so that a viewer who comes and goes costs two additions and nothing of prom-client. */
  readonly #viewers = new Map<RefusalDoor, number>(viewerDoors.map((door) => [door, 0]));
  readonly #firstToken: Histogram<'config'>;
  readonly #generation: Histogram<'config'>;
  readonly #tokensPerSecond: Histogram<'config'>;
  readonly #tokens: Counter<'config' | 'kind'>;
  readonly #cost: Counter<'config'>;
  readonly #attempts: Counter<'config' | 'code'>;
  readonly #refusals: Counter<'door' | 'code'>;
  readonly #toolCalls: Counter<'config' | 'tool' | 'outcome'>;
  readonly #reloads: Counter<'result'>;
  readonly #measured = new Set<Measured>();

  /** @param others Registries that a scrape shows too. */
  constructor(registry: Registry, others: readonly Registry[] = []) {
    const prom = promClient();
    const registers = [registry];
    const counter = <Label extends string>(name: string, help: string, labelNames: Label[]) =>
      new prom.Counter({ name, help, labelNames, registers });
    const histogram = (name: string, help: string, buckets: number[]) =>
      new prom.Histogram({ name, help, buckets, labelNames: ['config'], registers });
    const sum = (name: string, help: string, of: (measured: Measured) => number) => {
      const total = () => [...this.#measured].reduce((so, measured) => so + of(measured), 0);
      return new prom.Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(total());
        },
      });
    };

    this.#registries = [registry, ...others];
    this.#generations = counter(generationsTotal, 'Generations that have ended', ['config', 'outcome', 'code']);
    sum('llm_generations_running', 'Generations that run', (measured) => measured.generationsRunning());
    const viewers = this.#viewers;
    void new prom.Gauge({
      name: 'llm_viewers',
      help: 'Open viewers',
      labelNames: ['door'],
      registers,
      collect() {
        for (const [door, open] of viewers) this.set({ door }, open);
      },
    });
    this.#firstToken = histogram('llm_first_token_seconds', 'From start to first token', firstTokenBuckets);
    this.#generation = histogram('llm_generation_seconds', 'From start to terminal event', generationBuckets);
    this.#tokensPerSecond = histogram(
      'llm_tokens_per_second',
      'Output tokens a second, from the first one on',
      tokensPerSecondBuckets,
    );
    this.#tokens = counter('llm_tokens_total', 'Tokens that upstream has billed, or is taken to bill', [
      'config',
      'kind',
    ]);
    this.#cost = counter('llm_cost_dollars_total', 'US dollars, where the price is known', ['config']);
    this.#attempts = counter('llm_upstream_attempts_total', 'Requests to upstream that have ended', ['config', 'code']);
    this.#refusals = counter('llm_refusals_total', 'Requests that were refused', ['door', 'code']);
    this.#toolCalls = counter('llm_tool_calls_total', 'Calls of tools', ['config', 'tool', 'outcome']);
    sum('llm_stream_logs', 'Stream logs that are kept here', (measured) => measured.logs());
    sum('llm_stream_log_bytes', 'Bytes of these logs', (measured) => measured.logBytes());
    this.#reloads = counter('llm_config_reloads_total', 'Reloads of changed configs', ['result']);

    for (const result of ['applied', 'refused']) this.#reloads.inc({ result }, 0);
  }

  get contentType(): string {
    return this.#registries[0]!.contentType;
  }

  async text(): Promise<string> {
    return (await Promise.all(this.#registries.map((registry) => registry.metrics()))).join('\n');
  }

  /** The metrics of all workers, each with the worker's number as a label, since a scrape reaches any one of them. */
  among(workers: Workers): Exposition {
    const { AggregatorRegistry } = promClient();
    for (const registry of this.#registries) registry.setDefaultLabels({ worker: String(workers.number) });
    workers.answerWith(async () => {
      const reports = await Promise.all(this.#registries.map((registry) => registry.getMetricsAsJSON()));
      return reports.flat();
    });
    return {
      contentType: this.contentType,
      text: async () => AggregatorRegistry.aggregate([...(await workers.reports())] as object[]).metrics(),
    };
  }

  /** Has scrapes ask this service too, until the result is disposed. */
  measure(measured: Measured): Disposable {
    this.#measured.add(measured);
    return { [Symbol.dispose]: () => void this.#measured.delete(measured) };
  }

  generationEnded(terminal: TerminalEvent): void {
    const { type: outcome, config, usage, costUsd, timing } = terminal;
    const { firstTokenMs, totalMs } = timing;
    this.#generations.inc({ config, outcome, code: codeOf(terminal) });
    this.#generation.observe({ config }, totalMs / 1_000);
    if (firstTokenMs !== null) {
      this.#firstToken.observe({ config }, firstTokenMs / 1_000);
      const seconds = (totalMs - firstTokenMs) / 1_000;
      // An answer that came in one piece has no pace.
      if (seconds > 0) this.#tokensPerSecond.observe({ config }, usage.outputTokens / seconds);
    }
    add(this.#tokens, { config, kind: 'input' }, usage.inputTokens);
    add(this.#tokens, { config, kind: 'output' }, usage.outputTokens);
    add(this.#tokens, { config, kind: 'cache_read' }, usage.cacheReadInputTokens);
    add(this.#tokens, { config, kind: 'cache_creation' }, usage.cacheCreationInputTokens);
    if (costUsd !== null) add(this.#cost, { config }, costUsd);
  }

  upstreamAttempted(config: string, code: AttemptCode): void {
    this.#attempts.inc({ config, code });
  }

  refused(door: RefusalDoor, code: ErrorCode): void {
    this.#refusals.inc({ door, code });
  }

  viewerCame(door: RefusalDoor): void {
    this.#count(door, 1);
  }

  viewerLeft(door: RefusalDoor): void {
    this.#count(door, -1);
  }

  #count(door: RefusalDoor, more: number): void {
    this.#viewers.set(door, (this.#viewers.get(door) ?? 0) + more);
  }

  toolCalled(config: string, tool: string, outcome: string): void {
    this.#toolCalls.inc({ config, tool, outcome });
  }

  configsApplied(removed: readonly string[]): void {
    this.#reloads.inc({ result: 'applied' });
    const served = [...this.#measured].flatMap((measured) => measured.configNames());
    // The configs that are just gone are kept until the next reload, so that a scrape finds what was counted last.
    void this.#forgetAllBut(new Set([...served, ...removed]));
  }

  configsRefused(): void {
    this.#reloads.inc({ result: 'refused' });
  }

  /** Otherwise a service whose configs change their names now and then would keep the numbers of all names that ever were. */
  async #forgetAllBut(configs: ReadonlySet<unknown>): Promise<void> {
    for (const counter of [this.#generations, this.#tokens, this.#cost, this.#attempts, this.#toolCalls]) {
      const { values } = await (counter as Counter).get();
      for (const { labels } of values) if (!configs.has(labels['config'])) (counter as Counter).remove(labels);
    }
    for (const histogram of [this.#firstToken, this.#generation, this.#tokensPerSecond]) {
      const { values } = await histogram.get();
      for (const { labels } of values) {
        if (!configs.has(labels.config)) histogram.remove({ config: String(labels.config) });
      }
    }
  }
}

/** The metrics of each app's registry, since several services of the app may count in one. */
const ofApps = new WeakMap<Registry, Metrics>();
let ofProcess: Registry | undefined;

/** The metrics in a registry that an app brings. Two services with the same registry count together. */
export function metricsIn(registry: Registry): Metrics {
  const known = ofApps.get(registry);
  // An app may have cleared its registry since.
  if (known && registry.getSingleMetric(generationsTotal)) return known;
  const metrics = new Metrics(registry);
  ofApps.set(registry, metrics);
  return metrics;
}

/** Metrics in a registry of their own. Scrapes show those of the process too. */
export function ownMetrics(): Metrics {
  const { Registry, collectDefaultMetrics } = promClient();
  if (!ofProcess) {
    // What they measure with can't be stopped again. So they are made once, however many services the process starts.
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
  }
  return new Metrics(new Registry(), [ofProcess]);
}

/** Loads prom-client only here, since a service whose metrics nobody reads has no use for it. */
function promClient(): typeof PromClient {
  return createRequire(import.meta.url)('prom-client') as typeof PromClient;
}

/** The error's code, or the reason of a cancel. `done` has none: a stop reason is upstream's word, and could be any. */
function codeOf(terminal: TerminalEvent): string {
  if (terminal.type === 'error') return terminal.code;
  return terminal.type === 'cancelled' ? terminal.reason : '';
}

/** A counter throws for anything but a number from 0 on, and a price in a config can make a cost something else. */
function add<Label extends string>(counter: Counter<Label>, labels: Record<Label, string>, value: number): void {
  if (value >= 0 && value < Infinity) counter.inc(labels, value);
}
