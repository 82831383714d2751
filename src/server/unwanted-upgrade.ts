/**
 * Requests that offer a protocol which this service doesn't speak. Java's HTTP client offers h2c with the first request of each
 * connection. A server may ignore such an offer and answer the request as usual (RFC 9110, section 7.8). Node does so from 24.9 on if
 * an option says it; earlier versions detach their parser from the connection and emit 'upgrade'.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';

const offers = new Set(['upgrade', 'http2-settings']);

/** Whether the request asks for a WebSocket. It may offer other protocols beside it. */
export function wantsWebSocket({ headers }: IncomingMessage): boolean {
  return (headers.upgrade ?? '').split(',').some((name) => name.trim().toLowerCase() === 'websocket');
}

/**
 * Answers a request whose offer is ignored: writes its head back into the socket without the offer, and hands the socket to the
 * server as a new connection. Node's documentation doesn't say that a server accepts a socket whose first bytes were put back;
 * test/unwanted-upgrade.test.ts fails on a version that doesn't.
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
