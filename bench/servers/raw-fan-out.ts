/**
 * One generation to many viewers for the price of the socket writes alone. Each read from upstream becomes one frame,
 * as our SSE door writes it, and goes to every socket unchanged.
 */
import http from 'node:http';
import type { Socket } from 'node:net';
import { listen, upstreamUrl } from './listen.ts';

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
const id = crypto.randomUUID();
let viewers: Socket[] = [];
let running = false;

listen((request, response) => {
  const body: Buffer[] = [];
  request.on('data', (bytes: Buffer) => body.push(bytes));
  request.on('end', () => {
    const socket = response.socket!;
    socket.write(head);
    viewers.push(socket);
    if (!running) generate(Buffer.concat(body));
  });
});

function generate(body: Buffer): void {
  running = true;
  const headers = { 'content-type': 'application/json', 'content-length': body.length };
  http
    .request(new URL('/v1/messages', upstreamUrl), { method: 'POST', headers }, (answer) => {
      let offset = 0;
      // Upstream writes whole events, and on loopback each write arrives as one read.
      answer.on('data', (bytes: Buffer) => {
        let text = '';
        for (const [, json] of bytes.toString().matchAll(/^data: (.*"text_delta".*)$/gm)) {
          text += (JSON.parse(json!) as { delta: { text: string } }).delta.text;
        }
        if (text === '') return;
        const data = JSON.stringify({ json: { type: 'text', index: 0, text } });
        sendAll(`data: ${data}\nid: ${id}:${(offset += 1)}\n\n`);
      });
      answer.on('end', () => {
        for (const viewer of viewers) viewer.write('0\r\n\r\n');
        viewers = [];
        running = false;
      });
    })
    .end(body);
}

function sendAll(frame: string): void {
  const chunk = Buffer.from(`${Buffer.byteLength(frame).toString(16)}\r\n${frame}\r\n`);
  for (const viewer of viewers) viewer.write(chunk);
}
