/**
 * The connection to the service that serves this page: llm-service's client, with a way to cut it. tRPC's own hooks use the
 * tRPC client inside.
 */
import { createLlmClient, LlmClientError, type LlmClient } from 'llm-service/client';
import type { AppRouter } from '../../../llm.config.ts';
import { Cutter } from './cutter.ts';

export type Transport = 'sse' | 'ws';

export interface Connection {
  readonly transport: Transport;
  readonly token: string | undefined;
  readonly llm: LlmClient<AppRouter>;
  readonly trpc: LlmClient<AppRouter>['trpc'];
  /** Breaks every open connection, as a tunnel or a proxy would. Running streams reconnect by themselves. */
  readonly cut: () => void;
}

export interface ConnectionOptions {
  readonly transport: Transport;
  readonly token: string | undefined;
  /**
   * Called if HTTP reaches the service but no WebSocket ever opened. The usual cause is a proxy that doesn't pass
   * WebSockets on.
   */
  readonly onNoWebSocket: () => void;
}

/** The service's address, relative to this page: so it works under any path that a proxy gives the page. */
const url = new URL('trpc', document.baseURI);

/** Opens no connection before it is needed, so it need not be closed. */
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

  const llm = createLlmClient<AppRouter>({ url, transport, token, WebSocket: PageWebSocket, fetch: cutter.fetch });
  const { trpc } = llm;
  return { transport, token, llm, trpc, cut: () => cutter.cut() };
}
