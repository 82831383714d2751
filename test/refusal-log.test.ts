/** Each refusal is a line in the log, at every door, so that an operator sees whom the service refuses. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createLlmRouter } from '../src/embed.ts';
import { defineConfigs } from '../src/define-configs.ts';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { postJson, send, upgrade, type RawAnswer } from './support/raw-http.ts';
import { openSocket, query, subscription } from './support/raw-websocket.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';

finishesCleanly();

const key = 'sk-alice';
const canary = 'canary-in-the-prompt';
const written: string[] = [];
const telemetry = new Telemetry({
  logLevel: 'trace',
  logContent: false,
  destination: { write: (line) => void written.push(line) },
});
const test = serviceForEachTest({
  telemetry,
  env: {
    LLM_API_KEYS: `alice:${createHash('sha256').update(key).digest('hex')}`,
    LLM_BODY_BYTES_MAX: '2000',
    LLM_SUBSCRIPTIONS_PER_SOCKET_MAX: '1',
  },
});

interface Line {
  readonly level: number;
  readonly time: string;
  readonly msg: string;
  readonly door?: string;
  readonly code?: string;
  readonly caller?: string;
  readonly requestId?: string;
  readonly leftOut?: number;
}

function lines(msg: string): Line[] {
  return written.map((line) => JSON.parse(line) as Line).filter((line) => line.msg === msg);
}

const authorization = `Bearer ${key}`;
const bad = { messages: [{ role: 'robot', content: canary }] };
const large = { json: ask(canary.repeat(200)) };
type Come = (url: string) => Promise<RawAnswer>;

const cases: readonly [door: string, code: string, level: number, caller: string | undefined, come: Come][] = [
  ['sse', 'unauthorized', 40, undefined, (url) => postJson(`${url}/trpc/llm.stream`, { json: ask('hi') })],
  ['sse', 'invalid_input', 30, 'alice', (url) => postJson(`${url}/trpc/llm.stream`, { json: bad }, { authorization })],
  ['sse', 'too_large', 30, undefined, (url) => postJson(`${url}/trpc/llm.stream`, large, { authorization })],
  [
    'sse',
    'forbidden',
    40,
    undefined,
    (url) => postJson(`${url}/trpc/llm.stream`, {}, { origin: 'https://evil.example' }),
  ],
  [
    'sse',
    'config_not_found',
    30,
    'alice',
    (url) => postJson(`${url}/trpc/llm.stream`, { json: ask('hi', { config: 'none' }) }, { authorization }),
  ],
  ['trpc', 'unauthorized', 40, undefined, (url) => send(`${url}/trpc/llm.configs`)],
  ['trpc', 'invalid_input', 30, undefined, (url) => send(`${url}/trpc/llm.nonsense`, { headers: { authorization } })],
  ['trpc', 'forbidden', 40, undefined, (url) => send(`${url}/trpc/llm.configs`, { headers: { host: 'evil.example' } })],
  [
    'trpc',
    'generation_not_found',
    30,
    'alice',
    (url) => postJson(`${url}/trpc/llm.cancel`, { json: { generationId: crypto.randomUUID() } }, { authorization }),
  ],
  ['rest', 'unauthorized', 40, undefined, (url) => send(`${url}/api/llm/configs`)],
  [
    'rest',
    'invalid_input',
    30,
    'alice',
    (url) => postJson(`${url}/api/llm/process_stream/default`, bad, { authorization }),
  ],
  [
    'rest',
    'too_large',
    30,
    undefined,
    (url) => postJson(`${url}/api/llm/process_stream/default`, large, { authorization }),
  ],
  [
    'rest',
    'invalid_input',
    30,
    undefined,
    (url) => send(`${url}/api/llm/process_stream/default`, { method: 'POST', body: 'x' }),
  ],
  ['http', 'invalid_input', 30, undefined, (url) => send(`${url}/nonsense`)],
  ['http', 'invalid_input', 30, undefined, (url) => send(`${url}/api/llm/generations/%`)],
  ['http', 'forbidden', 40, undefined, (url) => send(`${url}/healthz`, { headers: { host: 'evil.example' } })],
  ['websocket', 'forbidden', 40, undefined, (url) => upgrade(`${url}/trpc`, { origin: 'https://evil.example' })],
  ['websocket', 'forbidden', 40, undefined, (url) => upgrade(`${url}/trpc`, { host: 'evil.example' })],
  ['websocket', 'invalid_input', 30, undefined, (url) => upgrade(`${url}/nonsense`)],
];

it.each(cases)(
  'over %s, %s is a line of its own, under the id that the refusal bears',
  async (door, code, level, caller, come) => {
    written.length = 0;
    const answer = await come(test.current.url);
    const refused = lines('refused');
    expect(refused).toHaveLength(1);
    expect(refused[0]).toMatchObject({ level, door, code });
    expect(refused[0]!.caller).toBe(caller);
    expect(refused[0]!.time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    expect(refused[0]!.requestId).toMatch(/^[\da-f-]{36}$/);
    expect(answer.headers['x-request-id']).toBe(refused[0]!.requestId);
    // Clients that can't see headers find the id in the refusal itself.
    if (code !== 'too_large') expect(answer.text).toContain(refused[0]!.requestId);
    expect(written.join('')).not.toMatch(new RegExp(`${canary}|${key}|evil`));
  },
);

it('over a WebSocket, each refused call is a line of its own, under the id that its error bears', async () => {
  written.length = 0;
  using socket = await openSocket(test.current.url, '?connectionParams=1');
  socket.send({ method: 'connectionParams', data: { token: key } });
  const ask1 = [query(1, 'llm.nonsense'), subscription(2, 'llm.stream', bad), 'no JSON'];
  const ids: unknown[] = [];
  for (const message of ask1) {
    socket.send(message);
    const { error } = await socket.next();
    ids.push(error?.json.data.requestId);
  }
  const refused = lines('refused');
  expect(refused.map(({ door, code, caller }) => [door, code, caller])).toEqual([
    ['websocket', 'invalid_input', undefined],
    ['websocket', 'invalid_input', 'alice'],
    ['websocket', 'invalid_input', undefined],
  ]);
  expect(refused.map(({ requestId }) => requestId)).toEqual(ids);
  expect(new Set(ids).size).toBe(3);
});

it('an id that the client sends is not used as ours', async () => {
  const { headers } = await send(`${test.current.url}/healthz`, { headers: { 'x-request-id': 'theirs' } });
  expect(headers['x-request-id']).toMatch(/^[\da-f-]{36}$/);
});

it('of many refusals in a second some are lines, and one more line counts the others', async () => {
  written.length = 0;
  const { url } = test.current;
  await Promise.all(Array.from({ length: 60 }, () => send(`${url}/nonsense`)));
  await send(`${url}/api/llm/configs`);
  telemetry.stopped();
  const unknown = lines('refused').filter(({ code }) => code === 'invalid_input');
  const leftOut = lines('more were refused').reduce((sum, line) => sum + line.leftOut!, 0);
  expect(unknown.length + leftOut).toBe(60);
  expect(leftOut).toBeGreaterThan(0);
  expect(lines('refused').filter(({ code }) => code === 'unauthorized')).toHaveLength(1);
});

describe('in somebody else’s tRPC app', () => {
  it('a refusal is a line of its own, under the id that its error bears', async () => {
    const own: string[] = [];
    await using router = createLlmRouter(defineConfigs({ default: plainConfig }), {
      authenticate: () => ({ name: 'bob' }),
      telemetry: { destination: { write: (line) => void own.push(line) } },
    });
    const caller = router.createCaller({});
    const error: unknown = await caller.llm.cancel({ generationId: crypto.randomUUID() }).catch((thrown) => thrown);
    const refused = own.map((line) => JSON.parse(line) as Line).filter(({ msg }) => msg === 'refused');
    expect(refused).toMatchObject([{ level: 30, door: 'embedded', code: 'generation_not_found', caller: 'bob' }]);
    expect(error).toMatchObject({ cause: { requestId: refused[0]!.requestId } });
  });
});
