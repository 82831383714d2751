/** Whatever clients send, the number of metrics is bounded by what the operator wrote, and a token is never counted. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Registry } from 'prom-client';
import { expect, it, onTestFinished } from 'vitest';
import { defineConfigs } from '../src/define-configs.ts';
import { createLlmRouter } from '../src/embed.ts';
import { errorCodes } from '../src/protocol.ts';
import { startWithParts } from '../src/service.ts';
import { readSettings } from '../src/settings/settings.ts';
import type { Counters } from '../src/telemetry/metrics.ts';
import { doors, readAll, terminalOf } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { sample, samplesIn, scrape } from './support/prometheus.ts';
import { postJson, send } from './support/raw-http.ts';
import { ask, plainConfig, startTestService } from './support/service.ts';

finishesCleanly();

it('1,000 paths and 200 names of configs that nobody has add refusals by door and code, and nothing of what they say', async () => {
  await using test = await startTestService();
  const { url, service } = test;
  await readAll(doors[2]!.stream(url, ask('hi')));
  const before = await scrape(service.metricsUrl);
  const made = (index: number) => `made-up-${index}"}\n{`;
  for (let first = 0; first < 1_000; first += 50) {
    const paths = Array.from({ length: 50 }, (_, index) => encodeURIComponent(made(first + index)));
    await Promise.all(
      paths.flatMap((path, index) => [
        send(`${url}/${path}`),
        ...(index < 5 ? [postJson(`${url}/api/llm/process_stream/${path}`, ask('hi'))] : []),
        ...(index < 5 ? [postJson(`${url}/trpc/llm.stream`, { json: ask('hi', { config: made(index) }) })] : []),
      ]),
    );
  }
  const { text } = await send(service.metricsUrl!);
  expect(text).not.toContain('made-up');
  const after = await scrape(service.metricsUrl);
  const added = [...after.keys()].filter((key) => !before.has(key));
  expect(added.toSorted()).toEqual(
    [
      sample('llm_refusals_total', { door: 'http', code: 'invalid_input' }),
      sample('llm_refusals_total', { door: 'rest', code: 'config_not_found' }),
      sample('llm_refusals_total', { door: 'sse', code: 'config_not_found' }),
    ].toSorted(),
  );
  expect(after.get(sample('llm_refusals_total', { door: 'http', code: 'invalid_input' }))).toBe(1_000);
  expect(after.get(sample('llm_refusals_total', { door: 'rest', code: 'config_not_found' }))).toBe(100);
  // Upstream's own words are no labels either.
  for (const key of after.keys()) {
    const code = /code="(\w+)"/.exec(key)?.[1];
    if (code !== undefined) expect([...errorCodes, 'ok']).toContain(code);
  }
});

it('an answer of 1,000 tokens calls the counters as often as an answer of one', async () => {
  await using test = await startTestService({ simulator: { onePerWrite: true } });
  const { url, upstream, service } = test;
  const calls: string[] = [];
  const recorder = new Proxy({} as Counters, {
    get: (_counters, method) => () => void calls.push(String(method)),
  });
  service.core.telemetry.countIn(recorder);
  for (const tokens of [1, 1_000]) {
    calls.length = 0;
    upstream.enqueue({ kind: 'text', text: Array.from({ length: tokens }, () => 'token ') });
    const terminal = terminalOf(await readAll(doors[0]!.stream(url, ask('hi'))));
    expect(terminal.usage.outputTokens).toBeGreaterThanOrEqual(tokens);
    await eventually(() => {
      expect(calls.toSorted()).toEqual(['generationEnded', 'upstreamAttempted', 'viewerCame', 'viewerLeft']);
    });
  }
});

it('a config that is gone is shown until the next reload, and reloads are counted by their result', async () => {
  const cwd = await mkdtemp(join(tmpdir(), 'metrics-'));
  onTestFinished(() => rm(cwd, { recursive: true }));
  const write = (configs: unknown) => writeFile(join(cwd, 'configs.json'), JSON.stringify(configs));
  await write({ stays: plainConfig, goes: plainConfig });
  const env = { PORT: '0', LOG_LEVEL: 'silent', LLM_CONFIG: 'configs.json', LLM_DRAIN_MS: '0' };
  await using service = await startWithParts({ settings: readSettings(env), env, cwd });
  const configsCounted = async () => {
    const keys = [...(await scrape(service.metricsUrl)).keys()];
    return new Set(keys.flatMap((key) => /config="([^"]*)"/.exec(key)?.[1] ?? []));
  };
  for (const config of ['stays', 'goes']) {
    await readAll(doors[2]!.stream(service.url, ask('/sim echo hi', { config })));
  }
  await eventually(async () => expect(await configsCounted()).toEqual(new Set(['stays', 'goes'])));

  await write({ stays: plainConfig });
  await service.reload();
  expect(await configsCounted()).toEqual(new Set(['stays', 'goes']));
  await write({ stays: { ...plainConfig, max_tokens: 0 } });
  await service.reload();
  await service.reload();
  await write({ stays: plainConfig, comes: plainConfig });
  await service.reload();
  expect(await configsCounted()).toEqual(new Set(['stays']));
  // The configs are what they were: nothing was applied, and nothing refused.
  await service.reload();
  const samples = await scrape(service.metricsUrl);
  expect(samples.get(sample('llm_config_reloads_total', { result: 'applied' }))).toBe(2);
  expect(samples.get(sample('llm_config_reloads_total', { result: 'refused' }))).toBe(2);
  expect(samples.get(sample('llm_generations_total', { config: 'stays', outcome: 'done', code: '' }))).toBe(1);
});

const appConfigs = defineConfigs({ default: { ...plainConfig } });

it('an app that brings a registry finds its routers counted there together, and its own metrics are left alone', async () => {
  const metrics = new Registry();
  const served = async () => samplesIn(await metrics.metrics());
  const done = sample('llm_generations_total', { config: 'default', outcome: 'done', code: '' });
  const callOnce = async () => {
    await using router = createLlmRouter(appConfigs, { metrics, env: {}, limits: { drainMs: 0 } });
    const { llm } = router.createCaller({});
    const events = await llm.stream({ config: 'default', messages: [{ role: 'user', content: '/sim echo hi' }] });
    for await (const { data } of events)
      if (data.type === 'start') expect((await served()).get('llm_viewers{door="embedded"}')).toBe(1);
    await eventually(async () => expect((await served()).get('llm_generations_running')).toBe(0));
    expect((await served()).get('llm_stream_logs')).toBe(1);
    await expect(llm.cancel({ generationId: crypto.randomUUID() })).rejects.toThrow('No such generation');
  };
  await callOnce();
  await callOnce();
  const samples = await served();
  expect(samples.get(done)).toBe(2);
  expect(samples.get(sample('llm_refusals_total', { door: 'embedded', code: 'generation_not_found' }))).toBe(2);
  expect(samples.get('llm_stream_logs')).toBe(0);
  expect([...samples.keys()].filter((key) => !key.startsWith('llm_'))).toEqual([]);

  metrics.clear();
  await callOnce();
  expect((await served()).get(done)).toBe(1);
});

it('prom-client is loaded only where somebody can read metrics', async () => {
  const script = `
    import { createRequire } from 'node:module';
    import { createLlmRouter } from './src/embed.ts';
    import { defineConfigs } from './src/define-configs.ts';
    import { startService } from './src/service.ts';
    import { readSettings } from './src/settings/settings.ts';
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((path) => path.includes('prom-client'));
    const configs = defineConfigs({ default: { model: 'm', max_tokens: 1, system_prompt: '' } });
    const start = async (env) => {
      const settings = readSettings({ PORT: '0', LOG_LEVEL: 'silent', ...env });
      await (await startService({ settings, configs }))[Symbol.asyncDispose]();
      console.log(loaded());
    };
    await createLlmRouter(configs, { env: {} })[Symbol.asyncDispose]();
    await start({ HOST: '0.0.0.0', LLM_AUTH: 'none' });
    await start({ HOST: '0.0.0.0', LLM_AUTH: 'none', LLM_METRICS_PORT: '0' });
  `;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  expect(stdout.trim().split('\n')).toEqual(['false', 'true']);
});
