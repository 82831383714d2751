/**
 * The typed client for Node, on the WebSocket of the package `ws`. Node 20 has no WebSocket of its own, and that of later versions
 * hides the HTTP status of a refused handshake, so a wrong key would look like a service that can't be reached. Every other
 * runtime gets client/llm-client.ts by the conditions in package.json, and so nothing of Node.
 */
import type { AnyTRPCRouter } from '@trpc/server';
import { WebSocket } from 'ws';
import { createLlmClient as createClient, type LlmClient, type LlmClientOptions } from './client/llm-client.ts';

export * from './client/llm-client.ts';

/** A client of the service at `options.url`. It connects when it is first used. */
export function createLlmClient<TRouter extends AnyTRPCRouter>(options: LlmClientOptions): LlmClient<TRouter> {
  return createClient<TRouter>({ ...options, WebSocket: options.WebSocket ?? WebSocket });
}
