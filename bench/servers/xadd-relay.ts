/**
 * The yardstick of the log on Redis: what many would write. A byte proxy that adds each token to a Redis stream by itself, and passes
 * it on when Redis has answered.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { createClient } from 'redis';
import { listen, upstreamUrl } from './listen.ts';

const redis = createClient({ url: process.env['REDIS_URL'] ?? '' });
redis.on('error', () => {});
await redis.connect();
let generations = 0;
/** A stream is forgotten as the service forgets logs. */
const expirySeconds = 600;

listen((request, response) => {
  const { method, headers, url } = request;
  const outgoing = http.request(new URL(url ?? '/', upstreamUrl), { method, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, { 'content-type': 'text/event-stream' });
    pass(answer, response).catch(() => response.destroy());
  });
  outgoing.on('error', () => response.destroy());
  response.on('close', () => outgoing.destroy());
  request.pipe(outgoing);
});

async function pass(answer: IncomingMessage, response: ServerResponse): Promise<void> {
  const key = `bench:${(generations += 1)}`;
  let unfinished = '';
  let last: Promise<unknown> = Promise.resolve();
  answer.setEncoding('utf8');
  for await (const text of answer as AsyncIterable<string>) {
    const events = (unfinished + text).split('\n\n');
    unfinished = events.pop()!;
    // Answers arrive in the order of the commands, so the events leave in theirs.
    for (const event of events) {
      last = redis.xAdd(key, '*', { event }).then(() => response.write(`${event}\n\n`));
      last.catch(() => response.destroy());
    }
  }
  await last;
  await redis.expire(key, expirySeconds);
  response.end();
}
