/** What a request's body says of its caller and of other servers: an id without a name, and tokens from the environment. */
import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { parseConfigs } from '../src/configs/configs.ts';
import type { Simulator } from '../src/simulator.ts';
import { doors, readAll, terminalOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig } from './support/llm-stream.ts';
import { ask, plainConfig, startTestService } from './support/service.ts';

finishesCleanly();

const bodiesOf = ({ requests }: Simulator) => requests.map(({ body }) => body);

it('with user_id: caller, each caller has one id at upstream, which says nothing of its name', async () => {
  await using bench = await startBench({ address: () => ({ apiKey: 'sk-1' }) });
  const config = testConfig({ user_id: 'caller' });
  const askAs = async (name: string) => {
    const request = { config, messages: ask('hi').messages, variables: {}, caller: { name } };
    for await (const batch of bench.llm.stream(request, new AbortController().signal)) expect(batch).toBeDefined();
  };
  for (const name of ['ada', 'ada', 'grace']) await askAs(name);
  const ids = bodiesOf(bench.simulator).map(({ metadata }) => (metadata as { user_id: string }).user_id);
  expect(ids[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(ids[1]).toBe(ids[0]);
  expect(ids[2]).not.toBe(ids[0]);
});

it('the same caller has the same id over every door', async () => {
  await using service = await startTestService({ configs: { default: { ...plainConfig, user_id: 'caller' } } });
  for (const door of doors) await readAll(door.stream(service.url, ask('hi')));
  const ids = bodiesOf(service.upstream).map(({ metadata }) => (metadata as { user_id: string }).user_id);
  expect(ids).toHaveLength(doors.length);
  expect(new Set(ids).size).toBe(1);
});

const mcp_servers = [{ name: 'docs', url: 'https://docs.example/mcp', token_env: 'DOCS_TOKEN' }];

it('the token of an MCP server comes from the environment, and stands in no config that is printed', async () => {
  const configs = { default: { ...plainConfig, mcp_servers } };
  const env = { DOCS_TOKEN: 'the-docs-token\n' };
  await using service = await startTestService({ configs, env });
  const terminal = terminalOf(await readAll(doors[0]!.stream(service.url, ask('hi'))));
  const [request] = service.upstream.requests;
  expect(request!.body['mcp_servers']).toEqual([
    { type: 'url', name: 'docs', url: 'https://docs.example/mcp', authorization_token: 'the-docs-token' },
  ]);
  expect(request!.headers['anthropic-beta']).toBe('mcp-client-2025-11-20');
  const printed = inspect([parseConfigs(configs, { env }).get('default'), terminal], { depth: null });
  expect(printed).not.toContain('the-docs-token');
});

it('a refusal that quotes the token or the address of an MCP server is told without them', async () => {
  await using bench = await startBench({ address: () => ({ secret: () => 'the-docs-token' }) });
  bench.simulator.respondWith(({ body }) => ({
    kind: 'raw',
    status: 400,
    headers: { 'content-type': 'application/json' },
    bytes: JSON.stringify({
      type: 'error',
      error: { type: 'invalid_request_error', message: `mcp_servers: ${JSON.stringify(body['mcp_servers'])} failed` },
    }),
  }));
  await bench.hear(testConfig({ mcp_servers }));
  expect(bench.failures[0]!.said).toContain('mcp_servers');
  expect(bench.failures[0]!.said).not.toMatch(/docs-token|example/);
});

it('betas of keys and betas that an operator names in a header are sent together', async () => {
  const headers = { 'Anthropic-Beta': 'one-2026-01-01, fast-mode-2026-02-01' };
  const configs = { default: { ...plainConfig, speed: 'fast', headers } };
  await using service = await startTestService({ configs });
  await readAll(doors[0]!.stream(service.url, ask('hi')));
  expect(service.upstream.requests[0]!.headers['anthropic-beta']).toBe('fast-mode-2026-02-01,one-2026-01-01');
});
