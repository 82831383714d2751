/**
 * Beyond loopback, the service answers only to the names in LLM_ALLOWED_HOSTS, so that no page can point its own name
 * at the service.
 */
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { postJson, send, upgrade } from './support/raw-http.ts';
import { ask, serviceForEachTest, type TestService } from './support/service.ts';

finishesCleanly();

const beyond = { HOST: '0.0.0.0', LLM_ALLOWED_HOSTS: 'ok.example' };
const urlOf = ({ url }: TestService) => url.replace('0.0.0.0', '127.0.0.1');
const noKey = { LLM_AUTH: 'none' };
const keys = { LLM_API_KEYS: `ada:${'0'.repeat(64)}` };

describe.each([
  ['LLM_AUTH=none', noKey],
  ['keys', keys],
])('with %s and names', (_what, env) => {
  const test = serviceForEachTest({ env: { ...beyond, ...env } });

  it.each(['evil.example', 'ok.example.evil', '10.0.0.7.evil.example', '[not::an:address]', 'evil.example:80'])(
    'the name %s is refused at every door',
    async (host) => {
      const url = urlOf(test.current);
      const headers = { host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' };
      const answers = [
        await send(`${url}/`, { headers }),
        await send(`${url}/healthz`, { headers }),
        await send(`${url}/api/llm/configs`, { headers }),
        await send(`${url}/trpc/llm.configs`, { headers }),
        await postJson(`${url}/trpc/llm.stream`, { json: ask('hi') }, headers),
        await postJson(`${url}/api/llm/process_stream/default`, ask('hi'), headers),
        await upgrade(`${url}/trpc`, headers),
      ];
      for (const { status, text: told } of answers) {
        expect(status).toBe(403);
        expect(told).toContain('LLM_ALLOWED_HOSTS');
      }
      expect(test.current.upstream.requestCount).toBe(0);
    },
  );

  it.each(['ok.example', 'OK.Example.:8080', '10.0.0.7:3000', '[fd00::7]:3000', 'localhost', '127.0.0.1:3000'])(
    'a health check by the name or address %s is answered',
    async (host) => {
      for (const path of ['/healthz', '/readyz']) {
        expect((await send(urlOf(test.current) + path, { headers: { host } })).status).toBe(200);
      }
    },
  );

  it('a health check that names no host, as HTTP/1.0 allows, is answered', async () => {
    const { hostname, port } = new URL(urlOf(test.current));
    const socket = connect(Number(port), hostname);
    socket.end('GET /healthz HTTP/1.0\r\n\r\n');
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe('without names', () => {
  const test = serviceForEachTest({ env: { HOST: '0.0.0.0', ...noKey } });

  it.each(['any.example', '192.168.1.5:3000', '0.0.0.0'])('a URL alone starts nothing at %s either', async (host) => {
    const input = encodeURIComponent(JSON.stringify({ json: ask('hi') }));
    const answer = await send(`${urlOf(test.current)}/trpc/llm.stream?input=${input}`, { headers: { host } });
    expect(answer.text).toContain('"code":"forbidden"');
    expect(test.current.upstream.requestCount).toBe(0);
  });

  it('every name is answered to', async () => {
    const { status } = await send(`${urlOf(test.current)}/api/llm/configs`, { headers: { host: 'any.example' } });
    expect(status).toBe(200);
  });
});
