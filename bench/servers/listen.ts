/** Starts a server of the comparison where its parent finds it. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Listens on any free port of loopback and tells which on stdout. */
export function listen(handle: RequestListener): Server {
  const server = createServer(handle);
  server.listen(0, '127.0.0.1', 4_096, () => {
    process.stdout.write(`listens on http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
  });
  return server;
}

/** Where the benchmark's upstream is. */
export const upstreamUrl = process.env['ANTHROPIC_BASE_URL'] ?? '';
