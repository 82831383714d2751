/**
 * Kept sockets to upstream: a failure on one is counted and flagged, and a socket on which upstream sends unasked is
 * not used again.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LlmEvent } from '../../src/protocol.ts';
import { answersByHand } from '../support/attack-answers.ts';
import { targetForTests } from '../support/attack-target.ts';
import {
  answer,
  messageStart,
  startHandUpstream,
  type Exchange,
  type HandUpstream,
} from '../support/attack-upstream.ts';
import { ask, plainConfig } from '../support/service.ts';

let upstream: HandUpstream;
beforeAll(async () => {
  upstream = await startHandUpstream();
});
afterAll(() => upstream[Symbol.asyncDispose]());
const target = targetForTests(() => ({
  upstreamUrl: upstream.url,
  configs: {
    default: { ...plainConfig, retries: { max: 0 } },
    once_more: { ...plainConfig, retries: { max: 1 } },
  },
}));

const askFor = (content: string, config: string, signal: AbortSignal) =>
  answersByHand.rest(target.current.url, ask(content, { config }), signal);
const endOf = (events: readonly LlmEvent[]) => events.at(-1) as Extract<LlmEvent, { type: 'error' }>;
const requestsFor = (content: string) => upstream.requests.filter(({ body }) => body.includes(JSON.stringify(content)));

describe('a kept socket that upstream breaks after it took the request', () => {
  const breaks: Readonly<Record<string, (exchange: Exchange) => Promise<unknown>>> = {
    'reset after 300 ms': async ({ socket }) => delay(300).then(() => socket.resetAndDestroy()),
    'reset after 20 ms': async ({ socket }) => delay(20).then(() => socket.resetAndDestroy()),
    'closed after 300 ms': async ({ socket }) => delay(300).then(() => socket.destroy()),
    'ended after 300 ms': async ({ socket }) => delay(300).then(() => socket.end()),
  };
  it.each(Object.keys(breaks))('gets one request if retries are 0, and the usage is flagged: %s', async (how) => {
    upstream.script = (exchange) =>
      exchange.body.includes('break') ? void breaks[how]!(exchange) : exchange.pour(answer('hello'));
    const content = `break ${how}`;
    const { result } = await target.current.withstands(`A18 ${how}`, async (signal) => {
      const first = await askFor('first', 'default', signal);
      const second = await askFor(content, 'default', signal);
      return { first: endOf(first).type, code: endOf(second).code, usage: endOf(second).usage };
    });
    expect(result.first).toBe('done');
    expect(requestsFor(content)).toHaveLength(1);
    expect(result.code).toMatch(/^upstream_/);
    expect(result.usage.estimated).toBe(true);
  });

  it.each(Object.keys(breaks))(
    'gets one more request if one retry is allowed, and the usage is flagged: %s',
    async (how) => {
      const content = `once more, break ${how}`;
      upstream.script = (exchange) =>
        exchange.body.includes('break') && requestsFor(content).length === 1
          ? void breaks[how]!(exchange)
          : exchange.pour(answer('hello'));
      const { result } = await target.current.withstands(`A18 ${how}, one retry`, async (signal) => {
        await askFor('first', 'once_more', signal);
        const second = await askFor(content, 'once_more', signal);
        return { type: endOf(second).type, usage: endOf(second).usage };
      });
      expect(result.type).toBe('done');
      expect(requestsFor(content)).toHaveLength(2);
      expect(result.usage.estimated).toBe(true);
    },
  );
});

describe('a kept socket on which upstream sends unasked bytes', () => {
  const smuggled =
    'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 15\r\n\r\nevent: ping\n\n\n\n';
  it.each([
    ['an answer to nothing', smuggled],
    ['a timeout', 'HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'],
    ['a byte', '\n'],
    ['noise', 'x'.repeat(1_000)],
  ])('is closed, and the next request goes elsewhere: %s', async (what, bytes) => {
    upstream.script = ({ pour }) => pour(answer('hello'));
    const { result } = await target.current.withstands(`A21 ${what}`, async (signal) => {
      await askFor('first', 'default', signal);
      const idle = upstream.requests.at(-1)!.socket;
      const closed = once(idle, 'close').then(() => true);
      idle.write(bytes);
      const wasClosed = await Promise.race([closed, delay(3_000, false, { signal }).catch(() => false)]);
      const content = `after ${what}`;
      const second = await askFor(content, 'default', signal);
      return { wasClosed, end: endOf(second).type, requests: requestsFor(content).length };
    });
    expect(result).toEqual({ wasClosed: true, end: 'done', requests: 1 });
  });

  it('is closed, also if they arrive together with the end of an answer', async () => {
    upstream.script = (exchange) => {
      if (!exchange.body.includes('"smuggle"')) return exchange.pour(answer('hello'));
      const text = answer('hello')
        .map((event) =>
          typeof event === 'string' ? event : `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
        )
        .join('');
      const head = `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n`;
      return exchange.socket.write(head + text + smuggled);
    };
    const { result } = await target.current.withstands('A21 together with the end', async (signal) => {
      const first = await askFor('smuggle', 'default', signal);
      const second = await askFor('after the smuggled', 'default', signal);
      return { first: endOf(first).type, second: endOf(second).type };
    });
    expect(result).toEqual({ first: 'done', second: 'done' });
  });

  it('in the middle of an answer: only that answer is cut', async () => {
    upstream.script = ({ body, write, socket, pour }) =>
      body.includes('"middle"')
        ? write(`data: ${JSON.stringify(messageStart)}\n\n`).then(() => socket.write('zz\r\nno chunk'))
        : pour(answer('hello'));
    const { result } = await target.current.withstands('A21 in the middle', async (signal) => {
      const first = await askFor('middle', 'default', signal);
      const second = await askFor('after the middle', 'default', signal);
      return { first: endOf(first).code, second: endOf(second).type };
    });
    expect(result).toEqual({ first: 'upstream_truncated', second: 'done' });
  });
});
