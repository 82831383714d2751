/**
 * Requests that offer another protocol than this service speaks, such as h2c, which Java's client offers with each of its
 * first requests. A server may leave such an offer alone and answer as if it weren't there (RFC 9110, section 7.8). Node
 * does so from 24.9 on where it is told to; before, it hands the connection over, with the parser taken off.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';

const offers = new Set(['upgrade', 'http2-settings']);

/** Whether the request asks for a WebSocket, among whatever else. */
export function wantsWebSocket({ headers }: IncomingMessage): boolean {
  return (headers.upgrade ?? '').split(',').some((name) => name.trim().toLowerCase() === 'websocket');
}

/**
 * Gives the connection back to the server, which reads the request again, without the offer. That a server takes a
 * connection whose first bytes were put back is nowhere specified; test/unwanted-upgrade.test.ts fails where it doesn't.
 */
export function serveWithoutUpgrade(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
  const { rawHeaders } = request;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    const value = name.toLowerCase() === 'connection' ? withoutOffers(rawHeaders[at + 1]!) : rawHeaders[at + 1]!;
    if (value !== '' && !offers.has(name.toLowerCase())) lines.push(`${name}: ${value}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit('connection', socket);
}

function withoutOffers(connection: string): string {
  const options = connection.split(',').map((option) => option.trim());
  return options.filter((option) => !offers.has(option.toLowerCase())).join(', ');
}
