/** The yardstick: a byte proxy made of Node's own parts, http and pipe. */
import http from 'node:http';
import { pipeline } from 'node:stream';
import { listen, upstreamUrl } from './listen.ts';

listen((request, response) => {
  const { method, headers, url } = request;
  const outgoing = http.request(new URL(url ?? '/', upstreamUrl), { method, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    pipeline(answer, response, () => {});
  });
  outgoing.on('error', () => response.destroy());
  response.on('close', () => outgoing.destroy());
  request.pipe(outgoing);
});
