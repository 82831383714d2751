/** A key may name the configs that its caller may use. The others do not exist for that caller, at any door. */
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import { defineConfigs } from '../src/define-configs.ts';
import { createLlmRouter } from '../src/embed.ts';
import { doors, readAll, refusalOf, terminalOf, type AnyConfigRouter } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { keyFileForEachTest, sha256 } from './support/key-file.ts';
import { send } from './support/raw-http.ts';
import { openSocket, query } from './support/raw-websocket.ts';
import { ask, plainConfig, startTestService, type TestService } from './support/service.ts';

finishesCleanly();
const file = keyFileForEachTest();

async function start(): Promise<TestService> {
  await file.write([
    { name: 'alice', sha256: sha256('of-alice'), configs: ['default', 'welcome'] },
    { name: 'nobody', sha256: sha256('of-nobody'), configs: [] },
    { name: 'root', sha256: sha256('of-root') },
  ]);
  return startTestService({ env: { LLM_API_KEYS_FILE: file.path } });
}

describe.each(doors)('over $name', (door) => {
  it('a config that the caller may not use is refused as one that doesn’t exist, and no answer names it', async () => {
    await using service = await start();
    const { url, upstream } = service;
    const hidden = await refusalOf(door.stream(url, ask('hi', { config: 'tutor' }), 'of-alice'));
    const missing = await refusalOf(door.stream(url, ask('hi', { config: 'tuter' }), 'of-alice'));
    expect(hidden).toMatchObject({ code: 'config_not_found', retryable: false });
    expect(hidden.message.replace('tutor', 'tuter')).toBe(missing.message);
    expect(hidden.message).toContain('Known are: default, welcome');
    expect((await refusalOf(door.stream(url, ask('hi'), 'of-nobody'))).message).toContain('Known are: none');
    expect(upstream.requestCount).toBe(0);
    expect(terminalOf(await readAll(door.stream(url, ask('hi'), 'of-alice'))).type).toBe('done');
    expect(terminalOf(await readAll(door.stream(url, ask('hi'), 'of-root'))).type).toBe('done');
  });
});

it('lists of configs hold those that the caller may use', async () => {
  await using service = await start();
  const namesFor = async (token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    const rest = JSON.parse((await send(`${service.url}/api/llm/configs`, { headers })).text) as { name: string }[];
    const link = httpLink({ url: `${service.url}/trpc`, transformer: superjson, headers });
    const overHttp = await createTRPCClient<AnyConfigRouter>({ links: [link] }).llm.configs.query();
    using socket = await openSocket(service.url, '?connectionParams=1');
    socket.send({ method: 'connectionParams', data: { token } });
    socket.send(query(1, 'llm.configs'));
    const overSocket = ((await socket.next()).result!.data as { json: { name: string }[] }).json;
    return [rest, overHttp, overSocket].map((list) => list.map(({ name }) => name).join());
  };
  expect(await namesFor('of-alice')).toEqual(Array(3).fill('default,welcome'));
  expect(await namesFor('of-nobody')).toEqual(Array(3).fill(''));
  expect(await namesFor('of-root')).toEqual(Array(3).fill('default,welcome,tutor'));
});

it('an app that embeds the router can say the same of its callers', async () => {
  await using router = createLlmRouter(defineConfigs({ one: plainConfig, two: plainConfig }), {
    authenticate: () => ({ name: 'alice', configs: ['two'] }),
  });
  const { llm } = router.createCaller({});
  expect((await llm.configs()).map(({ name }) => name)).toEqual(['two']);
});
