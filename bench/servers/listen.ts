/** Starts a server for the comparison, so that the parent process can find it. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Listens on any free port of loopback and prints the URL on stdout. */
export function listen(handle: RequestListener): Server {
  const server = createServer(handle);
  server.listen(0, '127.0.0.1', 4_096, () => {
    process.stdout.write(`listens on http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
  });
  return server;
}

/** The address of the benchmark's upstream. */
export const upstreamUrl = process.env['ANTHROPIC_BASE_URL'] ?? '';
