/**
 * A service with one generation, whose events the test writes: the procedures of our router on tRPC's own adapters. For what the
 * client makes of events, whatever service sends them.
 */
import { EventEmitter, once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { initTRPC, tracked, type TrackedEnvelope } from '@trpc/server';
import { createHTTPServer } from '@trpc/server/adapters/standalone';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import superjson from 'superjson';
import { WebSocketServer } from 'ws';
import type { DoneEvent, FollowRequest, LlmEvent, ResolveRequest, StreamRequest } from '../../src/protocol.ts';
import { llmErrorFormatter } from '../../src/doors/trpc/wire-errors.ts';

export const generationId = '00000000-0000-4000-8000-000000000017';
export const request = { config: 'any', generationId, messages: [{ role: 'user' as const, content: 'hi' }] };

const account = {
  usage: {
    inputTokens: 1,
    outputTokens: 1,
    cacheReadInputTokens: 0,
    cacheCreationInputTokens: 0,
    estimated: false,
    raw: null,
  },
  costUsd: null,
  timing: { firstTokenMs: 1, totalMs: 2 },
  config: 'any',
  model: 'm',
};

export const start: LlmEvent = {
  type: 'start',
  generationId,
  config: 'any',
  model: 'm',
  simulated: true,
  startedAt: '2026-01-01T00:00:00.000Z',
  protocol: 1,
};
export const text = (piece: string, index = 0): LlmEvent => ({ type: 'text', index, text: piece });
export const step = (number: number, stopReason = 'tool_use'): LlmEvent => ({ type: 'step', step: number, stopReason });
export const call = (id: string, by: 'service' | 'client', more: object = {}): LlmEvent => ({
  type: 'tool_call',
  index: 0,
  id,
  name: 'pick',
  input: { kind: 'image' },
  by,
  ...more,
});
export const result = (id: string, output: unknown, name = 'pick'): LlmEvent => ({
  type: 'tool_result',
  id,
  name,
  ok: true,
  output,
});
export const done = (more: Partial<DoneEvent> = {}): LlmEvent => ({
  type: 'done',
  stopReason: 'end_turn',
  steps: 1,
  ...account,
  ...more,
});
export const failed: LlmEvent = { type: 'error', code: 'upstream_error', message: 'no', retryable: true, ...account };
export const cancelled: LlmEvent = { type: 'cancelled', reason: 'requested', ...account };

export interface ScriptedService extends AsyncDisposable {
  readonly url: string;
  /** What `llm.resolve` was called with. */
  readonly resolved: ResolveRequest[];
  /** What `llm.stream` and `llm.follow` were called with. */
  readonly asked: (StreamRequest | FollowRequest)[];
  /** Called by `llm.resolve`; may throw. Does nothing at first. */
  onResolve: (request: ResolveRequest) => void;
  /** Adds events to the generation. */
  emit(...events: readonly LlmEvent[]): void;
}

export async function startScriptedService(...first: readonly LlmEvent[]): Promise<ScriptedService> {
  const log: LlmEvent[] = [start, ...first];
  const grown = new EventEmitter().setMaxListeners(0);
  const asked: ScriptedService['asked'] = [];
  const resolved: ResolveRequest[] = [];

  async function* events(
    asks: FollowRequest | StreamRequest,
    signal: AbortSignal,
  ): AsyncGenerator<TrackedEnvelope<LlmEvent>> {
    asked.push(asks);
    for (let offset = asks.lastEventId ? Number(asks.lastEventId.split(':')[1]) + 1 : 0; ; offset += 1) {
      // Rejects where the client leaves.
      while (offset >= log.length) await once(grown, 'grown', { signal });
      const event = log[offset]!;
      yield tracked(`${generationId}:${offset}`, event);
      if (event.type === 'done' || event.type === 'cancelled' || event.type === 'error') return;
    }
  }

  const t = initTRPC.create({ transformer: superjson, errorFormatter: llmErrorFormatter });
  const router = t.router({
    llm: t.router({
      stream: t.procedure
        .input((input: unknown) => input as StreamRequest)
        .subscription(({ input, signal }) => events(input, signal!)),
      follow: t.procedure
        .input((input: unknown) => input as FollowRequest)
        .subscription(({ input, signal }) => events(input, signal!)),
      resolve: t.procedure
        .input((input: unknown) => input as ResolveRequest)
        .mutation(({ input }) => {
          resolved.push(input);
          service.onResolve(input);
          return { resolved: input.results.length };
        }),
    }),
  });
  const server = createHTTPServer({ router, basePath: '/trpc/', allowMethodOverride: true });
  const wss = new WebSocketServer({ server });
  applyWSSHandler({ wss, router });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const service: ScriptedService = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    resolved,
    asked,
    onResolve() {},
    emit(...more) {
      log.push(...more);
      grown.emit('grown');
    },
    async [Symbol.asyncDispose]() {
      for (const client of wss.clients) client.terminate();
      server.closeAllConnections();
      wss.close();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return service;
}
