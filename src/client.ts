/**
 * The typed client for Node, on the WebSocket of the package `ws`: Node 20 has none of its own, and that of later versions
 * hides the HTTP status with which a handshake was refused, so that a key that is wrong would look like a service that can't
 * be reached. Every other runtime gets client/llm-client.ts by the conditions in package.json, and with it nothing of Node.
 */
import type { AnyTRPCRouter } from '@trpc/server';
import { WebSocket } from 'ws';
import { createLlmClient as createClient, type LlmClient, type LlmClientOptions } from './client/llm-client.ts';

export * from './client/llm-client.ts';

/** Connects to nothing before it is used. */
export function createLlmClient<TRouter extends AnyTRPCRouter>(options: LlmClientOptions): LlmClient<TRouter> {
  return createClient<TRouter>({ ...options, WebSocket: options.WebSocket ?? WebSocket });
}
