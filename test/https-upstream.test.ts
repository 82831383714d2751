/**
 * Upstream behind TLS, as Anthropic's is. Its bytes are read into the one buffer like all others, its sockets are kept
 * and reused, and its cuts are reported.
 */
import { once } from 'node:events';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, it, vi } from 'vitest';
import { LLMService } from '../src/upstream/llm-service.ts';
import type { LlmEvent } from '../src/protocol.ts';
import { ResponseBody } from '../src/upstream/http/body.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { hello, takeApart, testConfig } from './support/llm-stream.ts';
import { selfSigned } from './support/self-signed.ts';
import { trustSelfSigned } from './support/tls.ts';
import { frameOf } from './support/upstream-frames.ts';

finishesCleanly();
trustSelfSigned();

const pieces = Array.from({ length: 50 }, (_, number) => `stück ${number} ${'語'.repeat(number)} `);
const eventsOf = (texts: readonly string[]) => [
  { type: 'message_start', message: { usage: { input_tokens: 1, output_tokens: 1 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  ...texts.map((text) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })),
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: texts.length } },
  { type: 'message_stop' },
];

/** Sends the events one by one, each in its own turn. Cuts the connection after `cutAfter` of them. */
async function startUpstream({ cutAfter = Infinity, texts = pieces } = {}) {
  let connections = 0;
  const server = https.createServer(selfSigned, (request, response) => {
    const answer = async () => {
      for await (const _ of request);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const [number, event] of eventsOf(texts).entries()) {
        if (number === cutAfter) return response.destroy();
        response.write(frameOf(event));
        await new Promise(setImmediate);
      }
      return response.end();
    };
    void answer();
  });
  server.on('secureConnection', () => (connections += 1));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const baseUrl = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const llm = new LLMService({ resolveUpstream: () => ({ baseUrl, apiKey: 'sk-test', simulated: false }) });
  return {
    get connections() {
      return connections;
    },
    async hear() {
      const heard: LlmEvent[] = [];
      const config = testConfig({ retries: { max: 0 } });
      const { signal } = new AbortController();
      for await (const batch of llm.stream({ config, messages: hello, variables: {} }, signal)) heard.push(...batch);
      return takeApart(heard);
    },
    async [Symbol.asyncDispose]() {
      await llm[Symbol.asyncDispose]();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

it('answers come whole, one after the other on one connection, and side by side', async () => {
  await using upstream = await startUpstream();
  const past = vi.spyOn(ResponseBody.prototype, 'takeChunks');
  for (let time = 0; time < 3; time += 1) {
    const { text, terminal } = await upstream.hear();
    expect(text).toBe(pieces.join(''));
    expect(terminal.type).toBe('done');
  }
  expect(upstream.connections).toBe(1);
  expect(past).toHaveBeenCalled();
  const answers = await Promise.all(Array.from({ length: 5 }, () => upstream.hear()));
  for (const { text } of answers) expect(text).toBe(pieces.join(''));
});

it('an answer that is cut off ends as truncated, with the text so far', async () => {
  await using upstream = await startUpstream({ cutAfter: 22 });
  const { text, terminal } = await upstream.hear();
  expect(pieces.join('').startsWith(text)).toBe(true);
  expect(text).not.toBe('');
  expect(terminal).toMatchObject({ type: 'error', code: 'upstream_truncated' });
});

it('an answer that arrives without a pause is merged, though each piece is encrypted separately', async () => {
  const many = Array.from({ length: 1_000 }, (_, number) => ` ${number}`);
  await using upstream = await startUpstream({ texts: many });
  // On a busy machine there are pauses that the test did not make.
  await eventually(async () => {
    const { text, events } = await upstream.hear();
    expect(text).toBe(many.join(''));
    expect(events.length).toBeLessThan(many.length / 2);
  });
});
