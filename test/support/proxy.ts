/**
 * A proxy as companies run them: makes tunnels, passes on requests for whole URLs, and records what it was asked for.
 */
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';

export interface Proxy extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** `CONNECT host:port` and `POST http://…`, in order. */
  readonly asked: readonly string[];
  /** The `proxy-authorization` header of each. */
  readonly credentials: readonly (string | undefined)[];
}

export interface ProxyOptions {
  /** Its answer to every request; absent: it does what the request asks. `silence`: it never answers. */
  readonly answers?: number | 'silence';
  /** The address to which it sends every request, whatever host the request names. */
  readonly upstreamPort: number;
}

export async function startProxy({ answers, upstreamPort }: ProxyOptions): Promise<Proxy> {
  const asked: string[] = [];
  const credentials: (string | undefined)[] = [];
  const sockets = new Set<Duplex>();
  const keep = (socket: Duplex) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  };
  const note = ({ method, url, headers }: http.IncomingMessage) => {
    asked.push(`${method} ${url}`);
    credentials.push(headers['proxy-authorization']);
  };
  const server = http.createServer((request, response) => {
    note(request);
    if (answers === 'silence') return;
    if (answers !== undefined) {
      response.writeHead(answers).end();
      return;
    }
    const { pathname, search } = new URL(request.url!);
    const { 'proxy-authorization': _credentials, ...headers } = request.headers;
    const options = { host: '127.0.0.1', port: upstreamPort, method: request.method, path: pathname + search, headers };
    const onward = http.request({ ...options, agent: false }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  });
  server.on('connection', keep);
  server.on('connect', (request, client: Duplex) => {
    note(request);
    if (answers === 'silence') return;
    if (answers !== undefined) {
      client.end(`HTTP/1.1 ${answers} No\r\nconnection: close\r\n\r\n`);
      return;
    }
    const onward = net.connect(upstreamPort, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.pipe(client).pipe(onward);
    });
    keep(onward);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    asked,
    credentials,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}
