/** The page's files over plain HTTP: whole, conditional, in part; and no other files. */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { text as textOf } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send, type RawAnswer } from './support/raw-http.ts';
import { serviceForEachTest, startTestService } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

/** Requests the path exactly as written; a URL object would normalize it. */
async function get(path: string): Promise<RawAnswer> {
  const { hostname, port } = new URL(test.current.url);
  const request = httpRequest({ hostname, port, path, agent: false });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { status: response.statusCode!, headers: response.headers, text: await textOf(response) };
}

const page = () => send(test.current.url);
const script = async () => new URL(/src="([^"]+)"/.exec((await page()).text)![1]!, `${test.current.url}/`).href;

it.each([
  '/../package.json',
  '/assets/../../package.json',
  '/..%2fpackage.json',
  '/%2e%2e/%2e%2e/package.json',
  '/assets/%2e%2e%2f%2e%2e%2fpackage.json',
  '/..%5cpackage.json',
  '/%00',
  '/index.html%00.js',
  '/%',
  '/%ff',
  '/.env',
  '/assets',
  '/assets/',
  '/nothing-here.js',
  `/${'long'.repeat(200)}`,
])('%s is no file of the page', async (path) => {
  const { status, headers, text } = await get(path);
  expect([400, 404]).toContain(status);
  expect(headers['content-type']).toContain('application/json');
  expect(JSON.parse(text)).toMatchObject({ error: { code: 'invalid_input' } });
});

it('a browser that has a file is answered 304, with its policy, and HEAD has the headers alone', async () => {
  const { headers } = await page();
  const again = await send(test.current.url, { headers: { 'if-none-match': headers['etag']! } });
  expect(again).toMatchObject({ status: 304, text: '' });
  expect(again.headers['cache-control']).toBe('no-cache');
  expect(again.headers['content-security-policy']).toBe(headers['content-security-policy']);
  const head = await send(test.current.url, { method: 'HEAD' });
  expect(head).toMatchObject({ status: 200, text: '' });
  expect(head.headers['content-length']).toBe(headers['content-length']);
});

it('a range of a file is served as that range, and a range beyond it is refused as such', async () => {
  const url = await script();
  const whole = await send(url);
  const part = await send(url, { headers: { range: 'bytes=10-19' } });
  expect(part).toMatchObject({ status: 206, text: whole.text.slice(10, 20) });
  expect((await send(url, { headers: { range: 'bytes=999999999-' } })).status).toBe(416);
  expect((await send(url, { headers: { 'if-match': '"another"' } })).status).toBe(412);
});

it('a reader that leaves in the middle of a file leaves nothing open', async () => {
  const request = httpRequest(await script(), { agent: false });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.destroy();
  expect((await page()).status).toBe(200);
});

it('with LLM_PAGE=off there is no page, and the doors are as ever', async () => {
  await using service = await startTestService({ env: { LLM_PAGE: 'off' } });
  expect(await send(service.url)).toMatchObject({ status: 404 });
  expect(await send(`${service.url}/api/llm/configs`)).toMatchObject({ status: 200 });
});
