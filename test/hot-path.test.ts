/**
 * The cost of a token, as counts that don't depend on the machine: one write to the socket for each read from upstream,
 * however much the read contained.
 */
import type { Socket } from 'node:net';
import Anthropic from '@anthropic-ai/sdk';
import { describe, expect, it, vi } from 'vitest';
import { doors, readAll, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { watchServerSockets } from './support/server-sockets.ts';
import { ask, plainConfig, serviceForEachTest, startTestService } from './support/service.ts';
import { frameOf } from './support/upstream-frames.ts';

finishesCleanly();
const test = serviceForEachTest({ configs: { default: { ...plainConfig, on_disconnect: 'continue' } } });

/** From now on, counts what a socket hands to the system. */
function countWrites(socket: Socket): { readonly writes: number } {
  const counted = { writes: 0 };
  for (const name of ['_write', '_writev'] as const) {
    const write = socket[name]!.bind(socket) as (...args: unknown[]) => void;
    socket[name] = (...args: unknown[]) => {
      counted.writes += 1;
      write(...args);
    };
  }
  return counted;
}

describe.each(doors)('over $name', (door) => {
  it('a token is one write', async () => {
    const { url, upstream } = test.current;
    using sockets = watchServerSockets(url);
    upstream.enqueue({ kind: 'manual' });
    const view = door.stream(url, ask('hi'));
    const request = await upstream.nextRequest();
    await request.text('first');
    await view.until((event) => event.type === 'text');
    const counted = countWrites(sockets.open[0]!);
    for (let number = 0; number < 50; number += 1) {
      await request.text(` ${number}, grüße`);
      await view.until((event) => event.type === 'text' && event.text.endsWith(` ${number}, grüße`));
    }
    expect(counted.writes).toBe(50);
    request.finish();
    await readAll(view);
  });

  it('the end of an answer and of its stream are one write', async () => {
    const { url, upstream } = test.current;
    using sockets = watchServerSockets(url);
    upstream.enqueue({ kind: 'manual' });
    const view = door.stream(url, ask('hi'));
    const request = await upstream.nextRequest();
    await request.text('all there is');
    await view.until((event) => event.type === 'text');
    const counted = countWrites(sockets.open[0]!);
    request.finish();
    expect((await readAll(view)).at(-1)!.event.type).toBe('done');
    expect(counted.writes).toBe(1);
  });

  it('tokens that upstream sends together become few writes and few events', async () => {
    const { url, upstream } = test.current;
    using sockets = watchServerSockets(url);
    const tokens = Array.from({ length: 5_000 }, (_, number) => ` t${number}`);
    const delta = (text: string) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });
    const burst = [
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      ...tokens.map((token) => delta(token)),
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: tokens.length } },
      { type: 'message_stop' },
    ];
    upstream.enqueue({ kind: 'manual' });
    const view = door.stream(url, ask('hi'));
    const request = await upstream.nextRequest();
    await view.until((event) => event.type === 'start');
    const counted = countWrites(sockets.open[0]!);
    await request.write(
      [{ type: 'message_start', message: { usage: { input_tokens: 1, output_tokens: 1 } } }, ...burst]
        .map(frameOf)
        .join(''),
    );
    const seen = await readAll(view);
    expect(textOf(seen)).toBe(tokens.join(''));
    expect(seen.length).toBeLessThan(100);
    expect(counted.writes).toBeLessThan(100);
  });
});

it('the bytes for a hundred viewers of one generation are made once', async () => {
  const { url, upstream } = test.current;
  upstream.enqueue({ kind: 'manual' });
  const asked = ask('hi', { generationId: crypto.randomUUID() });
  const views = Array.from({ length: 100 }, () => doors[0]!.stream(url, asked));
  const request = await upstream.nextRequest();
  await Promise.all(views.map((view) => view.until((event) => event.type === 'start')));
  const stringify = vi.spyOn(JSON, 'stringify');
  try {
    await request.text('for all of you');
    await Promise.all(views.map((view) => view.until((event) => event.type === 'text')));
    expect(stringify.mock.calls.filter(([value]) => value === 'for all of you')).toHaveLength(1);
  } finally {
    stringify.mockRestore();
  }
  request.finish();
  await Promise.all(views.map((view) => readAll(view)));
  expect(upstream.requestCount).toBe(1);
});

it('the part that all requests of a config share is made before the first of them', async () => {
  const build = vi.spyOn(Anthropic.prototype, 'buildRequest');
  try {
    await using service = await startTestService();
    expect(build).toHaveBeenCalledTimes(1);
    await readAll(doors[0]!.stream(service.url, ask('hi')));
    expect(build).toHaveBeenCalledTimes(1);
  } finally {
    build.mockRestore();
  }
});
