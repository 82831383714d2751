/**
 * A tRPC subscription as tRPC's documentation writes it, on its stock adapters for SSE and WebSocket. It uses the same
 * wire as our service (tracked ids and superjson), so that the measurement compares only the servers.
 */
import Anthropic from '@anthropic-ai/sdk';
import { initTRPC, tracked } from '@trpc/server';
import { createHTTPHandler } from '@trpc/server/adapters/standalone';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import superjson from 'superjson';
import { WebSocketServer } from 'ws';
import { z } from 'zod';
import { listen, upstreamUrl } from './listen.ts';

const anthropic = new Anthropic({ baseURL: upstreamUrl, apiKey: 'sk-bench' });
const t = initTRPC.create({ transformer: superjson });
const message = z.object({ role: z.enum(['user', 'assistant']), content: z.string() });

const router = t.router({
  stream: t.procedure.input(z.object({ messages: z.array(message) })).subscription(async function* ({
    input: { messages },
    signal,
  }) {
    const request = { model: 'claude-sonnet-5-5', max_tokens: 100_000, messages, stream: true } as const;
    const stream = await anthropic.messages.create(request, signal ? { signal } : {});
    let id = 0;
    for await (const event of stream) {
      if (event.type !== 'content_block_delta' || event.delta.type !== 'text_delta') continue;
      yield tracked(String((id += 1)), { type: 'text', text: event.delta.text });
    }
  }),
});

const server = listen(createHTTPHandler({ router }));
applyWSSHandler({ wss: new WebSocketServer({ server }), router });
