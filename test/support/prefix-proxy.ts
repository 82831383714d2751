/**
 * Reverse proxies that serve the service under a path prefix and remove that prefix: one of our own, which also records
 * requests outside the prefix, and nginx.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, request as ask, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';

export interface PrefixProxy extends AsyncDisposable {
  /** The service's root under the first prefix, with a slash at its end. */
  readonly url: string;
  /** Paths outside the prefix that were requested. */
  readonly strays: readonly string[];
}

/**
 * @param prefixes Such as `/ai/`. One service may have several.
 * @param upgrades Whether the proxy passes WebSockets on. Many proxies pass on only plain requests.
 */
export async function startPrefixProxy(
  target: string,
  prefixes: readonly [string, ...string[]],
  { upgrades = true } = {},
): Promise<PrefixProxy> {
  const { hostname, port } = new URL(target);
  const strays: string[] = [];
  const sockets = new Set<Socket>();
  const inside = ({ url = '' }: IncomingMessage) => {
    const prefix = prefixes.find((each) => url.startsWith(each));
    return prefix === undefined ? undefined : url.slice(prefix.length - 1);
  };

  const server = createServer((incoming: IncomingMessage, response: ServerResponse) => {
    const path = inside(incoming);
    if (path === undefined) {
      strays.push(incoming.url!);
      response.writeHead(404).end();
      return;
    }
    const { connection: _connection, upgrade: _upgrade, ...headers } = incoming.headers;
    const outgoing = ask({ hostname, port, path, method: incoming.method, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    incoming.pipe(outgoing);
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  if (upgrades) {
    server.on('upgrade', (incoming: IncomingMessage, client: Socket, head: Buffer) => {
      const path = inside(incoming);
      if (path === undefined) strays.push(incoming.url!);
      const service = connect(Number(port), hostname);
      const lines = Array.from({ length: incoming.rawHeaders.length / 2 }, (_, at) =>
        incoming.rawHeaders.slice(2 * at, 2 * at + 2).join(': '),
      );
      service.write([`GET ${path ?? incoming.url} HTTP/1.1`, ...lines, '', ''].join('\r\n'));
      service.write(head);
      client.pipe(service).pipe(client);
      for (const [one, other] of [
        [client, service],
        [service, client],
      ] as const) {
        one.on('error', () => other.destroy()).on('close', () => other.destroy());
      }
    });
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${prefixes[0]}`,
    strays,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export interface Nginx extends AsyncDisposable {
  /** The URL of its root. */
  readonly url: string;
}

/** nginx with the given locations, as README shows them. */
export async function startNginx(locations: string): Promise<Nginx> {
  const folder = await mkdtemp(join(tmpdir(), 'nginx-'));
  const port = await freePort();
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off; master_process off; pid nginx.pid; error_log error.log;
    events {}
    http {
      access_log off;
      ${kinds.map((kind) => `${kind}_temp_path ${kind};`).join(' ')}
      map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
      server { listen 127.0.0.1:${port}; ${locations} }
    }`,
  );
  const child = spawn('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log'], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const url = `http://127.0.0.1:${port}`;
  await eventually(async () => {
    const response = await fetch(`${url}/`, { headers: { connection: 'close' } });
    await response.arrayBuffer();
  });
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.kill();
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}
