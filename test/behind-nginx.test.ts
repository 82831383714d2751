/** The service behind nginx with the file that is shipped: as if there were no nginx. rolling-deploy.test.ts replaces instances there. */
import { once } from 'node:events';
import { connect, type ClientHttp2Session } from 'node:http2';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { freePort } from './support/free-port.ts';
import { defaultLimits } from './support/limits.ts';
import { postJson, send } from './support/raw-http.ts';
import { selfSigned } from './support/self-signed.ts';
import { watchServerSockets } from './support/server-sockets.ts';
import { ask, startTestService, type TestService } from './support/service.ts';
import { startShippedNginx, type ShippedNginx } from './support/shipped-nginx.ts';
import { requires } from './support/skip.ts';
import { trustSelfSigned } from './support/tls.ts';

finishesCleanly();
trustSelfSigned();

requires('nginx')('behind the nginx of deploy/', () => {
  let service: TestService;
  let root: ShippedNginx;
  let underPath: ShippedNginx;

  let port: number;

  beforeAll(async () => {
    port = await freePort();
    root = await startShippedNginx({ instances: [port, port] });
    underPath = await startShippedNginx({ instances: [port, port], prefix: '/ai/' });
  });
  afterAll(async () => {
    await underPath[Symbol.asyncDispose]();
    await root[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    service = await startTestService({ env: { PORT: String(port) } });
  });
  afterEach(() => service[Symbol.asyncDispose]());

  const places = [
    ['over plain HTTP', () => root.url],
    ['over TLS', () => root.secureUrl],
    ['under a path that it takes off', () => underPath.secureUrl],
  ] as const;

  describe.each(places)('%s', (_where, url) => {
    it.each(doors)('over $name, each token arrives before the next one is sent', async (door) => {
      service.upstream.enqueue({ kind: 'manual' });
      const view = door.stream(url(), ask('hi'));
      const request = await service.upstream.nextRequest();
      let sent = '';
      for (let token = 0; token < 20; token += 1) {
        await request.text(`${token} `);
        sent += `${token} `;
        await view.until(() => textOf(view.seen) === sent);
      }
      request.finish();
      expect(terminalOf(await readAll(view))).toMatchObject({ type: 'done' });
    });
  });

  it('`nginx -s reload` cuts answers over every door, and no viewer loses a token or starts an answer again', async () => {
    using sockets = watchServerSockets(service.url);
    const asked = doors.map((door) => {
      const generationId = crypto.randomUUID();
      service.upstream.enqueue({ kind: 'manual' });
      return { door, generationId, view: door.stream(root.url, ask('hi', { generationId })) };
    });
    // Which of them is whose doesn't matter: all get the same.
    const requests = [];
    for (const _ of asked) requests.push(await service.upstream.nextRequest());
    for (const request of requests) await request.text('first ');
    for (const { view } of asked) await view.until(({ type }) => type === 'text');
    const cut = sockets.open;
    expect(cut.length).toBeGreaterThanOrEqual(doors.length);

    await root.reload();
    await eventually(() => expect(cut.filter(({ destroyed }) => !destroyed)).toEqual([]));
    for (const request of requests) {
      await request.text('last');
      request.finish();
    }
    for (const { door, generationId, view } of asked) {
      // The stock clients of the other two come back by themselves.
      if (door.name === 'rest') await expect(view.completed).rejects.toThrow('terminated');
      const seen = await readAll(view).catch(() => view.seen);
      const lastEventId = seen.at(-1)!.id;
      const rest = door.name === 'rest' ? await readAll(door.follow(root.url, { generationId, lastEventId })) : [];
      const all = [...seen, ...rest];
      expect([door.name, textOf(all)]).toEqual([door.name, 'first last']);
      expect(terminalOf(all)).toMatchObject({ type: 'done' });
    }
    expect(service.upstream.requestCount).toBe(doors.length);
  });

  it('one connection of a browser carries twenty answers at once over HTTP/2, token by token', async () => {
    using sockets = watchServerSockets(service.url);
    // A browser's tab has one such connection for all of its answers.
    const session = connect(root.secureUrl, { ca: selfSigned.cert });
    await once(session, 'connect');
    expect(session.alpnProtocol).toBe('h2');
    const answers = Array.from({ length: 20 }, (_, at) => {
      service.upstream.enqueue({ kind: 'manual' });
      const body = ask(`Question ${at}`);
      return at % 2 === 0
        ? post(session, '/api/llm/process_stream/default', body)
        : post(session, '/trpc/llm.stream', { json: body });
    });
    const requests = [];
    for (const _ of answers) requests.push(await service.upstream.nextRequest());
    for (const token of ['one ', 'two ', 'three']) {
      for (const request of requests) await request.text(token);
      await eventually(() => {
        for (const { text } of answers) expect(text()).toContain(token);
      });
    }
    // All of them are open together.
    expect(sockets.open.length).toBeGreaterThanOrEqual(answers.length);
    for (const request of requests) request.finish();
    await Promise.all(answers.map(({ ended }) => ended));
    for (const { text } of answers) expect(text()).toContain('"done"');
    session.close();
    await once(session, 'close');
  });

  it('the port without TLS leads to the one with it, and a POST stays a POST', async () => {
    const response = await postJson(`${root.redirectUrl}/api/llm/process_stream/default`, ask('hi'), {
      host: 'llm.example.com',
    });
    expect(response.status).toBe(308);
    expect(response.headers.location).toBe('https://llm.example.com/api/llm/process_stream/default');
  });

  it('nobody reads the metrics through it', async () => {
    expect((await send(`${service.url}/metrics`)).status).toBe(200);
    expect((await send(`${root.url}/metrics`)).status).toBe(404);
    expect((await send(`${underPath.url}/metrics`)).status).toBe(404);
  });

  it('a body that the service would take is not too large for it', async () => {
    const content = 'x'.repeat(defaultLimits.bodyBytesMax - 200);
    const response = await postJson(`${root.url}/api/llm/process_stream/nowhere`, ask(content));
    expect([response.status, response.text]).toEqual([404, expect.stringContaining('config_not_found')]);
  });
});

/** A request on an HTTP/2 connection, and what has arrived of its response. */
function post(session: ClientHttp2Session, path: string, body: unknown) {
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' });
  let received = '';
  stream.setEncoding('utf8').on('data', (text: string) => (received += text));
  const ended = once(stream, 'end');
  stream.end(JSON.stringify(body));
  return { ended, text: () => received };
}
