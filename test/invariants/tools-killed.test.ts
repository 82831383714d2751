import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../../src/simulator.ts';
import { refusalOf, readAll, terminalOf } from '../support/doors.ts';
import { lastingDoors } from '../support/every-door.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { ask } from '../support/service.ts';
import { startServiceProcess } from '../support/service-process.ts';
import { requires } from '../support/skip.ts';
import { newPrefix, redisForAllTests } from '../support/stream-logs.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { call, message } from '../support/tool-scripts.ts';

finishesCleanly();

/** Counts the executions of a tool, none of which ends. */
let executions: number;
let executed: () => void;
const server = createServer(() => {
  executions += 1;
  executed();
});
let upstream: Simulator;
let toolUrl: string;

beforeEach(async () => {
  executions = 0;
  await once(server.listen(0, '127.0.0.1'), 'listening');
  toolUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  upstream.respondWith(() => message(call('k', 'knock', {})));
});
afterEach(async () => {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
  await upstream[Symbol.asyncDispose]();
});

/** Starts a service, has each door ask, kills it once all tools run, and has another take its place. */
async function killWhileToolsRun(env: Readonly<Record<string, string>>) {
  const options = { upstreamUrl: upstream.url, env: { ...env, TEST_TOOL_URL: toolUrl } };
  const first = await startServiceProcess(options);
  await using proxy = await startTcpProxy(first.url);
  const all = new Promise<void>((resolve) => (executed = () => executions === lastingDoors.length && resolve()));
  const views = lastingDoors.map((door) =>
    door.stream(proxy.url, ask('hi', { config: 'calls', generationId: crypto.randomUUID() })),
  );
  await Promise.all([all, ...views.map((view) => view.until(({ type }) => type === 'tool_call'))]);
  await using second = await startServiceProcess(options);
  proxy.retarget(second.url);
  await first.kill();
  proxy.cut();
  const ends = await Promise.all(
    views.map((view) => (env['REDIS_URL'] ? readAll(view).then(terminalOf) : refusalOf(view))),
  );
  return ends;
}

it('after the death of the process in the middle of a tool, no call is executed again, and nothing is asked again', async () => {
  const refusals = await killWhileToolsRun({});
  for (const refusal of refusals) expect(refusal).toMatchObject({ code: 'generation_not_found' });
  expect(executions).toBe(lastingDoors.length);
  expect(upstream.requestCount).toBe(lastingDoors.length);
});

requires('redis-server')('with Redis', () => {
  const redis = redisForAllTests();

  it('the same, and viewers see the end on another instance', async () => {
    const ends = await killWhileToolsRun({ REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}` });
    for (const end of ends) expect(end).toMatchObject({ type: 'error', code: 'producer_lost' });
    expect(executions).toBe(lastingDoors.length);
    expect(upstream.requestCount).toBe(lastingDoors.length);
  });
});
