/**
 * A host's tRPC app with our router in it. It has its own procedures, context and transport, the stock adapters, and an
 * error formatter that sends everything it can find.
 */
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { createTRPCClient, createWSClient, httpLink, httpSubscriptionLink, splitLink, wsLink } from '@trpc/client';
import { initTRPC, TRPCError, type inferRouterInputs, type TRPCDataTransformer } from '@trpc/server';
import { createHTTPServer, type CreateHTTPContextOptions } from '@trpc/server/adapters/standalone';
import { applyWSSHandler, type CreateWSSContextFnOptions } from '@trpc/server/adapters/ws';
import { EventSource } from 'eventsource';
import { WebSocket, WebSocketServer } from 'ws';
import { defineConfigs } from '../../src/configs/configs.ts';
import { createLlmRouter, type LlmRouterOptions } from '../../src/embed.ts';
import { LlmError } from '../../src/errors.ts';
import { llmErrorFormatter } from '../../src/doors/trpc/wire-errors.ts';

export const secrets = { prompt: 'the-secret-of-the-prompt', error: 'the-secret-of-an-error' } as const;

const common = { model: 'claude-sonnet-5-5', max_tokens: 1_000 } as const;
const configs = defineConfigs({
  default: { ...common, system_prompt: 'Keep the-secret-of-the-prompt.' },
  tutor: { ...common, system_prompt: 'Keep the-secret-of-the-prompt. Teach {{subject}}.' },
  unreachable: { ...common, system_prompt: '', base_url: 'http://127.0.0.1:9', retries: { max: 0 } },
  throws: { ...common, system_prompt: '', api_key_env: 'KEY_THAT_THROWS' },
});

export interface HostAppOptions extends LlmRouterOptions {
  /** No transformer unless given, as in an app that never chose one. */
  readonly transformer?: TRPCDataTransformer;
}

/** The app's context. It passes on what the adapter gave it; our procedures find headers there. */
function createContext({ req, res, info }: CreateHTTPContextOptions | CreateWSSContextFnOptions) {
  return { req, res, info, user: req.headers.authorization };
}

function createHostRouter({ transformer, ...options }: HostAppOptions) {
  const llm = createLlmRouter(configs, options);
  const t = initTRPC.context<typeof createContext>().create({
    ...(transformer && { transformer }),
    isDev: true,
    errorFormatter({ shape, error, input, ctx }) {
      const all = inspect({ error, input, user: ctx?.user, config: llm._def._config }, { depth: 20, showHidden: true });
      return llmErrorFormatter({ shape: { ...shape, data: { ...shape.data, all } }, error });
    },
  });
  const limited = t.procedure.use(() => {
    throw new LlmError('rate_limited', 'Not so fast', { retryAfterMs: 1_000 });
  });
  const app = t.router({
    hello: t.procedure.query(({ ctx }) => `Hello ${ctx.user ?? 'you'}`),
    broken: t.procedure.query(() => {
      throw new TRPCError({ code: 'NOT_FOUND', message: 'no such thing of the host' });
    }),
    limited: limited.query(() => 'never'),
    llm: llm.llm,
  });
  return { app, llm };
}

export type HostRouter = ReturnType<typeof createHostRouter>['app'];
export type HostInput = inferRouterInputs<HostRouter>['llm']['stream'];

export interface HostApp extends AsyncDisposable {
  readonly url: string;
  readonly router: HostRouter;
  readonly llm: AsyncDisposable;
  /** Cuts every connection, as a network does. */
  cut(): void;
}

/** Listens with tRPC's own adapters: standalone for HTTP and SSE, ws for WebSocket. */
export async function startHostApp(options: HostAppOptions): Promise<HostApp> {
  const { app: router, llm } = createHostRouter(options);
  const server = createHTTPServer({ router, createContext, basePath: '/api/trpc/', allowMethodOverride: true });
  const wss = new WebSocketServer({ server });
  applyWSSHandler({ wss, router, createContext });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const client of wss.clients) client.terminate();
    server.closeAllConnections();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/trpc`,
    router,
    llm,
    cut,
    async [Symbol.asyncDispose]() {
      await llm[Symbol.asyncDispose]();
      cut();
      wss.close();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export type Transport = 'sse' | 'websocket';

/** A client of the host on the stock links. */
export function hostClient(
  url: string,
  transport: Transport,
  { authorization, transformer }: { readonly authorization?: string; readonly transformer?: TRPCDataTransformer } = {},
) {
  const headers = authorization === undefined ? {} : { authorization };
  const socket = createWSClient({
    url: url.replace('http', 'ws'),
    WebSocket: class extends WebSocket {
      constructor(address: string) {
        super(address, { headers });
      }
    } as never,
    lazy: { enabled: true, closeMs: 0 },
    retryDelayMs: () => 1,
  });
  // Some of these hosts have a transformer and some don't; the types describe one without.
  const options = { url, ...(transformer && { transformer }) } as { readonly url: string };
  const sse = httpSubscriptionLink({
    ...options,
    EventSource: class extends EventSource {
      constructor(address: string | URL) {
        super(address, {
          fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
        });
      }
    },
  });
  const subscriptions = transport === 'sse' ? sse : wsLink<HostRouter>({ ...options, client: socket });
  const { hello, broken, limited, llm } = createTRPCClient<HostRouter>({
    links: [
      splitLink({
        condition: ({ type }) => type === 'subscription',
        true: subscriptions,
        false: httpLink({ ...options, headers }),
      }),
    ],
  });
  return { hello, broken, limited, llm, [Symbol.asyncDispose]: () => socket.close() };
}
