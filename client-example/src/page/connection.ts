/**
 * The connection to the service that this page comes from: llm-service's client, with a way to cut it. The hooks are
 * tRPC's own, on the tRPC client in it.
 */
import { createLlmClient, type LlmClient } from 'llm-service/client';
import type { AppRouter } from '../../../llm.config.ts';

export type Transport = 'sse' | 'ws';

export interface Connection {
  readonly transport: Transport;
  readonly token: string | undefined;
  readonly trpc: LlmClient<AppRouter>['trpc'];
  /** Breaks every open connection, as a tunnel or a proxy would. What was streaming comes back by itself. */
  readonly cut: () => void;
}

/** Holds no connection when nothing is asked for, so it need not be closed. */
export function connect(transport: Transport, token: string | undefined): Connection {
  let cutter = new AbortController();
  const sockets = new Set<WebSocket>();

  class CuttableWebSocket extends WebSocket {
    constructor(url: string) {
      super(url);
      sockets.add(this);
      this.addEventListener('close', () => sockets.delete(this));
    }
  }

  const { trpc } = createLlmClient<AppRouter>({
    url: location.origin,
    transport,
    token,
    WebSocket: CuttableWebSocket,
    fetch: (url, init) =>
      fetch(url, { ...init, signal: AbortSignal.any([cutter.signal, ...(init.signal ? [init.signal] : [])]) }),
  });
  return {
    transport,
    token,
    trpc,
    cut() {
      cutter.abort(new TypeError('The connection was cut'));
      cutter = new AbortController();
      for (const socket of sockets) socket.close();
    },
  };
}
