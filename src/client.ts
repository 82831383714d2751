/**
 * The typed client for Node, where version 20 has no WebSocket of its own: that of the package `ws` stands in. Every other
 * runtime gets client/llm-client.ts by the conditions in package.json, and with it nothing that is Node's.
 */
import type { AnyTRPCRouter } from '@trpc/server';
import { WebSocket } from 'ws';
import { createLlmClient as createClient, type LlmClient, type LlmClientOptions } from './client/llm-client.ts';

export * from './client/llm-client.ts';

/** Connects to nothing before it is used. */
export function createLlmClient<TRouter extends AnyTRPCRouter>(options: LlmClientOptions): LlmClient<TRouter> {
  const { WebSocket: own } = globalThis as Pick<LlmClientOptions, 'WebSocket'>;
  return createClient<TRouter>({ ...options, WebSocket: options.WebSocket ?? own ?? WebSocket });
}
