/** The service accepts JSON in UTF-8 however it was written, and its refusals name what any other body really is. */
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send } from './support/raw-http.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

const canary = 'canary-in-the-prompt';
const request = ask(`grüße ${canary} 😀`);
const paths = [
  { name: 'REST', path: '/api/llm/process_stream/default', whole: { messages: request.messages } },
  { name: 'the tRPC door', path: '/trpc/llm.stream', whole: { json: request } },
];

describe.each(paths)('over $name', ({ path, whole }) => {
  const json = JSON.stringify(whole);
  const post = (body: string | Uint8Array, contentType = 'application/json') =>
    send(test.current.url + path, { method: 'POST', headers: { 'content-type': contentType }, body });

  it.each([
    ['as it is', json, undefined],
    ['after a byte order mark', `\uFEFF${json}`, undefined],
    ['with blanks around', `\r\n ${json}\n`, undefined],
    ['with its charset', json, 'application/json; charset=utf-8'],
    ['with its charset in quotes', json, 'Application/JSON;charset="UTF-8"'],
    ['with a parameter of another name', json, 'application/json; v=1'],
  ])('JSON %s is taken', async (_how, body, contentType) => {
    const { status, text } = await post(body, contentType);
    expect(status).toBe(200);
    expect(text).toContain('"type":"done"');
    expect(test.current.upstream.requests[0]!.body.messages).toEqual(request.messages);
  });

  it.each<[string, string | Uint8Array, string | undefined, RegExp]>([
    ['a body that ends too soon', json.slice(0, -3), undefined, /not valid JSON/],
    ['a body with a comma too many', json.replace(/\}$/, ',}'), undefined, /not valid JSON, from character \d+ on/],
    ['blanks alone', '\n', undefined, /empty/],
    ['a byte order mark alone', '\uFEFF', undefined, /empty/],
    ['Latin-1', Buffer.from(json, 'latin1'), undefined, /not valid UTF-8/],
    ['UTF-16', Buffer.from(json, 'utf16le'), undefined, /not valid (UTF-8|JSON)/],
    ['another charset', json, 'application/json; charset=iso-8859-1', /UTF-8.*charset/],
    ['a form', 'a=b', 'application/x-www-form-urlencoded', /application\/json/],
    ['a type that begins like JSON’s', json, 'application/jsonl', /application\/json/],
  ])('%s is refused as what it is', async (_what, body, contentType, says) => {
    const { text } = await post(body, contentType);
    expect(text).toContain('"code":"invalid_input"');
    expect(text).toMatch(says);
    expect(text).not.toContain(canary);
    expect(test.current.upstream.requestCount).toBe(0);
  });
});

it('a missing body is named as missing, and a DELETE needs none even if it names a content type', async () => {
  const { url } = test.current;
  const headers = { 'content-type': 'application/json' };
  const answer = await send(`${url}/api/llm/process_stream/default`, { method: 'POST', headers });
  expect(answer).toMatchObject({ status: 400, text: expect.stringContaining('The body is empty') as string });
  const gone = await send(`${url}/api/llm/generations/${crypto.randomUUID()}`, { method: 'DELETE', headers });
  expect(gone).toMatchObject({ status: 404, text: expect.stringContaining('generation_not_found') as string });
});

describe.each(['/api/llm/process_stream/default', '/trpc/llm.stream', '/trpc/llm.cancel'])('over %s', (path) => {
  it.each(['gzip', 'br', 'x-unknown'])('a body that is compressed (%s) is called that', async (encoding) => {
    const headers = { 'content-type': 'application/json', 'content-encoding': encoding };
    const { text } = await send(test.current.url + path, { method: 'POST', headers, body: gzipSync('{}') });
    expect(text).toContain('"code":"invalid_input"');
    expect(text).toMatch(/not compressed/);
  });
});

it('null is named null, and not an empty body', async () => {
  const headers = { 'content-type': 'application/json' };
  const path = '/api/llm/process_stream/default';
  const { text } = await send(test.current.url + path, { method: 'POST', headers, body: 'null' });
  expect(text).toMatch(/expected object, received null/);
});
