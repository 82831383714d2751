/**
 * After a load of 500 generations with every outcome over all doors, with refusals, retries, tools and reloads, each metric is exactly
 * what the clients and the simulator have counted. `METRICS_REPORT=1` prints both.
 */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { TerminalEvent } from '../src/protocol.ts';
import type { FaultName, Reply } from '../src/simulator.ts';
import { doors, readAll, refusalOf, terminalOf, type Door, type View } from './support/doors.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { keyFileForEachTest, sha256 } from './support/key-file.ts';
import { labelsByMetric, sample, scrape, type Samples } from './support/prometheus.ts';
import { postJson, send, upgrade, type RawAnswer } from './support/raw-http.ts';
import { ask, plainConfig, startTestService, type TestService } from './support/service.ts';
import { call, message, text } from './support/tool-scripts.ts';

const viewerDoors = ['sse', 'websocket', 'rest', 'ui', 'ag-ui', 'openai', 'anthropic', 'embedded'];
finishesCleanly();
const keys = keyFileForEachTest();

const generationsTotal = 500;
/** Each is a load over each door. */
const rounds = 13;
const key = 'sk-alice';
/** Of a caller that may not spend anything. */
const poorKey = 'sk-poor';
const authorization = `Bearer ${key}`;
const overloaded: Reply = { kind: 'fault', fault: 'overloaded' };
const answer: Reply = { kind: 'text', text: ['Hello ', 'from ', 'upstream.'] };

const configs = {
  default: plainConfig,
  brief: { ...plainConfig, on_disconnect: { cancel_after_ms: 1 } },
  frail: { ...plainConfig, retries: { max: 0 }, fallback: 'spare' },
  spare: { ...plainConfig, model: 'claude-haiku-5-5' },
  unpriced: { ...plainConfig, model: 'claude-mythos-5' },
};
const toolModule = JSON.stringify(new URL('../src/tools/tool.ts', import.meta.url).pathname);

/** The text of a file with the configs, and one with tools: `works`, and `fails`, which throws. */
function configFileOf(description: string): string {
  const input = {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  };
  const tool = (execute: string) =>
    `tool({ description: 'A tool', input: ${JSON.stringify(input)} as never, execute: async () => { ${execute} } })`;
  const tools = `{ works: ${tool('return 4')}, fails: ${tool("throw new Error('it fails')")} }`;
  return `import { tool } from ${toolModule};
export default {
  ...${JSON.stringify({ ...configs, default: { ...plainConfig, description } })},
  tools: { ...${JSON.stringify(plainConfig)}, tools: ${tools} },
};`;
}

/** A service with these configs and keys, in files. */
async function startWithFiles(): Promise<TestService & { readonly configFile: string }> {
  const configFile = join(keys.path, '../llm.config.ts');
  await writeFile(configFile, configFileOf('The first one'));
  await keys.write([
    { name: 'alice', sha256: sha256(key) },
    { name: 'poor', sha256: sha256(poorKey), limits: { cost_per_caller_per_day_max: 0 } },
  ]);
  const env = { LLM_API_KEYS_FILE: keys.path, LLM_METRICS_PORT: '0', LLM_LOG_BYTES_MAX: '20000' };
  return Object.assign(await startTestService({ configFile, env }), { configFile });
}

/** What the clients and the test's upstream have seen. */
class Tally {
  readonly terminals: TerminalEvent[] = [];
  readonly counts = new Map<string, number>();

  count(name: string, labels: Readonly<Record<string, string>>, by = 1): void {
    const counted = sample(name, labels);
    this.counts.set(counted, (this.counts.get(counted) ?? 0) + by);
  }

  attempt(config: string, code: string): void {
    this.count('llm_upstream_attempts_total', { config, code });
  }

  tool(tool: string, outcome: string): void {
    this.count('llm_tool_calls_total', { config: 'tools', tool, outcome });
  }

  refusal(door: string, code: string): void {
    this.count('llm_refusals_total', { door, code });
  }

  terminal(terminal: TerminalEvent): void {
    const { type: outcome, config, usage, costUsd, timing } = terminal;
    this.terminals.push(terminal);
    const code = terminal.type === 'error' ? terminal.code : terminal.type === 'cancelled' ? terminal.reason : '';
    this.count('llm_generations_total', { config, outcome, code });
    this.count('llm_tokens_total', { config, kind: 'input' }, usage.inputTokens);
    this.count('llm_tokens_total', { config, kind: 'output' }, usage.outputTokens);
    this.count('llm_tokens_total', { config, kind: 'cache_read' }, usage.cacheReadInputTokens);
    this.count('llm_tokens_total', { config, kind: 'cache_creation' }, usage.cacheCreationInputTokens);
    if (costUsd !== null) this.count('llm_cost_dollars_total', { config }, costUsd);
    const { firstTokenMs, totalMs } = timing;
    this.observe('llm_generation_seconds', config, totalMs / 1_000);
    if (firstTokenMs === null) return;
    this.observe('llm_first_token_seconds', config, firstTokenMs / 1_000);
    const seconds = (totalMs - firstTokenMs) / 1_000;
    if (seconds > 0) this.observe('llm_tokens_per_second', config, usage.outputTokens / seconds);
  }

  observe(name: string, config: string, value: number): void {
    this.count(`${name}_sum`, { config }, value);
    this.count(`${name}_count`, { config });
  }
}

async function load(service: TestService, tally: Tally, door: Door): Promise<void> {
  const { url, upstream } = service;
  const start = (config: string) => door.stream(url, ask('hi', { config, generationId: crypto.randomUUID() }), key);
  const ends = async (config: string, ...replies: Reply[]) => {
    const requests = upstream.requestCount + replies.length;
    upstream.enqueue(...replies);
    const terminal = terminalOf(await readAll(start(config)));
    expect(upstream.requestCount, JSON.stringify(terminal)).toBe(requests);
    tally.terminal(terminal);
    return terminal;
  };
  const answers = async (config: string, ...failures: Reply[]) => {
    expect(await ends(config, ...failures, answer)).toMatchObject({ type: 'done' });
  };
  const fails = async (config: string, fault: FaultName, code: string, attempts = 1) => {
    for (let attempt = 0; attempt < attempts; attempt += 1) tally.attempt(config, code);
    const replies = Array.from({ length: attempts }, () => ({ kind: 'fault', fault }) as const);
    expect(await ends(config, ...replies)).toMatchObject({ type: 'error', code });
  };

  await answers('default');
  tally.attempt('default', 'ok');
  await answers('unpriced');
  tally.attempt('unpriced', 'ok');
  await answers('default', overloaded);
  tally.attempt('default', 'upstream_overloaded');
  tally.attempt('default', 'ok');
  await answers('frail', overloaded);
  tally.attempt('frail', 'upstream_overloaded');
  tally.attempt('spare', 'ok');
  await fails('default', 'unauthorized', 'upstream_auth');
  await fails('default', 'invalid_request', 'upstream_invalid_request');
  await fails('default', 'rate_limited', 'upstream_rate_limited', 3);
  await fails('default', 'clean_end', 'upstream_truncated');
  const tooLong = Array.from({ length: 2_000 }, () => 'more than a log may hold '.repeat(4));
  expect(await ends('default', { kind: 'text', text: tooLong })).toMatchObject({ code: 'log_limit' });
  tally.attempt('default', 'cancelled');

  const stopped = await held(service, () => start('default'));
  const { outcome } = JSON.parse(
    (await send(`${url}/api/llm/generations/${stopped.id}`, { method: 'DELETE', headers: { authorization } })).text,
  ) as { readonly outcome: string };
  expect(outcome).toBe('cancelled');
  tally.terminal(terminalOf(await readAll(stopped.view)));
  tally.attempt('default', 'cancelled');

  const calling = message(call('a', 'works', { city: 'Oslo' }), call('b', 'fails', { city: 'Oslo' }));
  const misspelt = message(call('c', 'works', { town: 'Oslo' }));
  expect(await ends('tools', calling, misspelt, message(text('Done.')))).toMatchObject({ type: 'done', steps: 3 });
  for (let step = 0; step < 3; step += 1) tally.attempt('tools', 'ok');
  tally.tool('works', 'ok');
  tally.tool('fails', 'failed');
  tally.tool('works', 'invalid_input');

  const left = await held(service, () => start('brief'));
  left.view.close();
  await until(() => service.service.core.generations.running === 0);
  tally.terminal(terminalOf(await readAll(door.follow(url, { generationId: left.id }, key))));
  tally.attempt('brief', 'cancelled');

  const refusal = async (view: View) => tally.refusal(door.name, (await refusalOf(view)).code);
  await refusal(door.stream(url, ask('something else', { generationId: left.id }), key));
  await refusal(door.stream(url, ask('hi'), poorKey));
}

/** A generation whose upstream says nothing. */
async function held(
  { upstream }: TestService,
  start: () => View,
): Promise<{ readonly view: View; readonly id: string }> {
  const requests = upstream.requestCount + 1;
  upstream.enqueue({ kind: 'manual' });
  const view = start();
  const { event } = await view.until(({ type }) => type === 'start');
  await until(() => upstream.requestCount === requests);
  return { view, id: (event as { readonly generationId: string }).generationId };
}

type Come = (url: string) => Promise<RawAnswer>;

const withKey = { authorization };
const robot = { messages: [{ role: 'robot', content: 'hi' }] };
const refused: readonly (readonly [door: string, code: string, come: Come])[] = [
  ['sse', 'unauthorized', (url) => postJson(`${url}/trpc/llm.stream`, { json: ask('hi') })],
  ['sse', 'invalid_input', (url) => postJson(`${url}/trpc/llm.stream`, { json: robot }, withKey)],
  [
    'sse',
    'config_not_found',
    (url) => postJson(`${url}/trpc/llm.stream`, { json: ask('hi', { config: 'none' }) }, withKey),
  ],
  ['trpc', 'unauthorized', (url) => send(`${url}/trpc/llm.configs`)],
  [
    'trpc',
    'generation_not_found',
    (url) => postJson(`${url}/trpc/llm.cancel`, { json: { generationId: crypto.randomUUID() } }, withKey),
  ],
  ['rest', 'unauthorized', (url) => send(`${url}/api/llm/configs`)],
  ['rest', 'invalid_input', (url) => postJson(`${url}/api/llm/process_stream/default`, robot, withKey)],
  ['rest', 'config_not_found', (url) => postJson(`${url}/api/llm/process_stream/none`, ask('hi'), withKey)],
  ['http', 'invalid_input', (url) => send(`${url}/nonsense`)],
  ['http', 'forbidden', (url) => send(`${url}/healthz`, { headers: { host: 'evil.example' } })],
  ['websocket', 'forbidden', (url) => upgrade(`${url}/trpc`, { origin: 'https://evil.example' })],
  ['websocket', 'invalid_input', (url) => upgrade(`${url}/nonsense`)],
];

it('every outcome over all doors is counted once, and with the numbers that its client has read', async () => {
  await using test = await startWithFiles();
  const { url, upstream, service } = test;
  const tally = new Tally();
  for (let round = 0; round < rounds; round += 1) for (const door of doors) await load(test, tally, door);
  for (let at = 0; tally.terminals.length + doors.length < generationsTotal; at += 1) {
    upstream.enqueue(answer);
    tally.terminal(terminalOf(await readAll(doors[at % doors.length]!.stream(url, ask('hi'), key))));
    tally.attempt('default', 'ok');
  }
  for (const [door, code, come] of refused) {
    for (const _twice of [1, 2]) {
      await come(url);
      tally.refusal(door, code);
    }
  }
  for (const [written, result] of [
    [configFileOf('The second one'), 'applied'],
    ['export default {', 'refused'],
    [configFileOf('The third one'), 'applied'],
  ] as const) {
    await writeFile(test.configFile, written);
    await service.reload();
    tally.count('llm_config_reloads_total', { result });
  }
  const last: View[] = [];
  for (const door of doors) {
    last.push((await held(test, () => door.stream(url, ask('hi'), key))).view);
    tally.attempt('default', 'cancelled');
  }
  await service.core.generations.drain(0);
  for (const view of last) tally.terminal(terminalOf(await readAll(view)));
  for (const door of doors) tally.refusal(door.name, (await refusalOf(door.stream(url, ask('hi'), key))).code);
  expect(tally.terminals).toHaveLength(generationsTotal);

  const samples = await scrape(service.metricsUrl);
  const buckets = [...samples.keys()].filter((each) => /^\w+_bucket\{/.test(each));
  const expected = new Map(tally.counts);
  for (const door of viewerDoors) expected.set(sample('llm_viewers', { door }), 0);
  expected.set('llm_generations_running', 0);
  expected.set('llm_stream_logs', tally.terminals.length);
  expected.set('llm_stream_log_bytes', service.core.logs.bytes);
  if (process.env['METRICS_REPORT']) print(expected, samples, upstream.requestCount);
  expect([...samples.keys()].filter((each) => !buckets.includes(each)).toSorted()).toEqual(
    [...expected.keys()].toSorted(),
  );
  for (const [each, value] of expected) expect(samples.get(each), each).toBeCloseTo(value, 6);

  // The simulator has counted, too.
  expect(sumOf(samples, 'llm_upstream_attempts_total')).toBe(upstream.requestCount);
  expect(sumOf(samples, 'llm_generations_total')).toBe(generationsTotal);
  // The last bucket of each histogram holds all of its values.
  for (const each of buckets.filter((name) => name.includes('le="+Inf"'))) {
    const counted = each.replace('_bucket', '_count').replace(/,?le="\+Inf"/, '');
    expect(samples.get(each), each).toBe(samples.get(counted));
  }
  const outcomes = new Set(tally.terminals.map(({ type }) => type));
  expect(outcomes).toEqual(new Set(['done', 'cancelled', 'error']));
  expect(Object.fromEntries(labelsByMetric(samples))).toEqual(labelsInReadme());
});

function sumOf(samples: Samples, name: string): number {
  return [...samples].reduce((sum, [each, count]) => (each.startsWith(name) ? sum + count : sum), 0);
}

/** The load's own counts beside those of the metrics. */
function print(counted: Samples, samples: Samples, requests: number): void {
  const rows = [...counted].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const lines = rows.map(([each, value]) => `| ${each} | ${value} | ${samples.get(each)} |`);
  const attempts = `| requests that the simulator received | ${requests} | ${sumOf(samples, 'llm_upstream_attempts_total')} |`;
  console.log(['| metric | client and simulator | service |', '| --- | --- | --- |', ...lines, attempts].join('\n'));
}

/** The table of metrics in README, without the row of prom-client's own. */
function labelsInReadme(): Readonly<Record<string, string>> {
  const rows = readFileSync('README.md', 'utf8').matchAll(/^\| `(llm_\w+)` \| \w+ \|([^|]*)\|/gm);
  const labelsIn = (cell: string) => (cell.match(/\w+/g) ?? []).toSorted().join(', ');
  return Object.fromEntries([...rows].map(([, name, labels]) => [name, labelsIn(labels!)]));
}

it('while a generation runs, it and its viewers are counted by their doors', async () => {
  await using test = await startWithFiles();
  const { url, service } = test;
  const { view: first, id } = await held(test, () => doors[0]!.stream(url, ask('hi'), key));
  const others = doors.map((door) => door.follow(url, { generationId: id }, key));
  for (const view of others) await view.until(({ type }) => type === 'start');
  const abort = new AbortController();
  const inProcess = service.core.generations.follow({ name: 'alice' }, { generationId: id }, abort.signal);
  await inProcess.next();

  const viewers = async () => {
    const samples = await scrape(service.metricsUrl);
    const open = viewerDoors.map((door) => [door, samples.get(sample('llm_viewers', { door }))] as const);
    return Object.fromEntries(open.filter(([, count]) => count !== 0));
  };
  expect(await viewers()).toEqual({ sse: 2, websocket: 1, rest: 1, embedded: 1 });
  const samples = await scrape(service.metricsUrl);
  expect(samples.get('llm_generations_running')).toBe(1);
  expect(samples.get('llm_stream_logs')).toBe(1);
  expect(samples.get('llm_stream_log_bytes')).toBe(service.core.logs.bytes);

  await inProcess.return();
  for (const view of [first, ...others]) view.close();
  await until(() => service.core.access.load.viewers === 0);
  expect(await viewers()).toEqual({});
});
