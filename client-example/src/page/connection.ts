/**
 * The connection to the service that this page comes from: llm-service's client, with a way to cut it. The hooks are
 * tRPC's own, on the tRPC client in it.
 */
import { createLlmClient, LlmClientError, type LlmClient } from 'llm-service/client';
import type { AppRouter } from '../../../llm.config.ts';
import { Cutter } from './cutter.ts';

export type Transport = 'sse' | 'ws';

export interface Connection {
  readonly transport: Transport;
  readonly token: string | undefined;
  readonly trpc: LlmClient<AppRouter>['trpc'];
  /** Breaks every open connection, as a tunnel or a proxy would. What was streaming comes back by itself. */
  readonly cut: () => void;
}

export interface ConnectionOptions {
  readonly transport: Transport;
  readonly token: string | undefined;
  /** Called where HTTP reaches the service and no WebSocket ever did: a proxy that doesn't pass them on, mostly. */
  readonly onNoWebSocket: () => void;
}

/** Beside this page, wherever a proxy has put it. */
const url = new URL('trpc', document.baseURI);

/** Holds no connection when nothing is asked for, so it need not be closed. */
export function connect({ transport, token, onNoWebSocket }: ConnectionOptions): Connection {
  const cutter = new Cutter();
  let reached = false;
  let asking = false;

  async function socketFailed(): Promise<void> {
    if (reached || asking) return;
    asking = true;
    const answered = await trpc.llm.configs.query().then(
      () => true,
      (error: unknown) => LlmClientError.from(error).code !== 'unreachable',
    );
    asking = false;
    if (answered && !reached) onNoWebSocket();
  }

  class PageWebSocket extends WebSocket {
    constructor(address: string) {
      super(address);
      cutter.add(this);
      this.addEventListener('open', () => (reached = true));
      this.addEventListener('close', () => void socketFailed());
    }
  }

  const { trpc } = createLlmClient<AppRouter>({ url, transport, token, WebSocket: PageWebSocket, fetch: cutter.fetch });
  return { transport, token, trpc, cut: () => cutter.cut() };
}
