/**
 * One listener: tRPC over HTTP, SSE and WebSocket under /trpc, REST under /api, health. Knows which request goes to
 * which door, and who is kept out before any; nothing of what the doors say.
 */
import type { AddressInfo } from 'node:net';
import { nodeHTTPRequestHandler } from '@trpc/server/adapters/node-http';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Access } from './access.ts';
import type { ConfigSnapshot } from './configs.ts';
import { isSubscription, serveSubscription } from './doors/sse.ts';
import { createWebSocketDoor, type WebSocketDoor } from './doors/websocket.ts';
import { LlmError } from './errors.ts';
import type { FlowLimits } from './flow-control.ts';
import type { Generations } from './generations.ts';
import type { InputSchemas } from './protocol.ts';
import { registerRest } from './rest.ts';
import type { LlmRouter } from './router.ts';
import type { Telemetry } from './telemetry.ts';

export interface ServerOptions extends FlowLimits {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly router: LlmRouter<never>;
  readonly generations: Generations;
  readonly configs: () => ConfigSnapshot;
  readonly access: Access;
  readonly schemas: InputSchemas;
  readonly telemetry: Telemetry;
  readonly bodyBytesMax: number;
  readonly heartbeatMs: number;
  readonly reconnectMs: number;
  readonly socketsMax: number;
  readonly connectionParamsMs: number;
  readonly subscriptionsPerSocketMax: number;
}

export interface Server extends AsyncDisposable {
  /** Where it listens, e.g. `http://127.0.0.1:3000`. */
  readonly url: string;
  /** WebSockets that are open. */
  readonly sockets: number;
}

/** Calls that one batched request of tRPC's links may hold. */
const batchSizeMax = 100;
/** How long a client may take to send a request whole. */
const requestTimeoutMs = 120_000;

/** Listens; disposing it closes every connection at once. */
export async function startServer(options: ServerOptions): Promise<Server> {
  const app = fastify({
    bodyLimit: options.bodyBytesMax,
    forceCloseConnections: true,
    requestTimeout: requestTimeoutMs,
    // A config's name that isn't one must reach the handler, to be told which there are.
    routerOptions: { maxParamLength: 1_000 },
  });
  guard(app, options);
  registerHealth(app, options.generations);
  registerRest(app, { ...options, authenticate: (request) => options.access.authenticate(request) });
  await app.register((scope) => registerTrpc(scope, options));

  const webSockets = createWebSocketDoor({
    ...options,
    check: ({ headers }) => {
      options.access.checkHost(headers);
      options.access.checkOrigin(headers);
    },
  });
  routeUpgrades(app, webSockets);
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    await webSockets[Symbol.asyncDispose]();
    throw error;
  }
  const { address, family, port } = app.server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    get sockets() {
      return webSockets.sockets;
    },
    async [Symbol.asyncDispose]() {
      await webSockets[Symbol.asyncDispose]();
      await app.close();
    },
  };
}

/** Checks each request for where it comes from, and gives every failure the shape that the doors share. */
function guard(app: FastifyInstance, { access, telemetry }: ServerOptions): void {
  app.addHook('onRequest', async (request, reply) => {
    access.checkHost(request.headers);
    if (!/^\/(trpc|api)\b/.test(request.url)) return;
    access.checkOrigin(request.headers);
    const origin = access.allowedOrigin(request.headers);
    // On the raw response, since the streams take it over and fastify's own headers would be lost.
    if (origin !== undefined) allowCrossOrigin(request, reply, origin);
  });
  app.options('*', async (_request, reply) => reply.code(204).send());
  app.setErrorHandler((error: FastifyError, _request, reply) => {
    const refusal = fromFastify(error);
    if (refusal.code === 'internal') telemetry.internalError('rest', refusal.cause);
    if (refusal.retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(refusal.retryAfterMs / 1_000));
    return reply.code(refusal.traits.status).send({ error: refusal.data });
  });
  app.setNotFoundHandler((request, reply) => {
    const refusal = LlmError.invalidInput([
      { path: '', message: `No such route: ${request.method} ${pathOf(request)}` },
    ]);
    return reply.code(404).send({ error: refusal.data });
  });
}

function allowCrossOrigin(request: FastifyRequest, reply: FastifyReply, origin: string): void {
  reply.raw.setHeader('access-control-allow-origin', origin);
  reply.raw.setHeader('vary', 'origin');
  if (request.method !== 'OPTIONS') return;
  reply.raw.setHeader('access-control-allow-methods', 'GET, POST, DELETE');
  reply.raw.setHeader(
    'access-control-allow-headers',
    'authorization, content-type, idempotency-key, last-event-id, trpc-accept',
  );
  reply.raw.setHeader('access-control-max-age', '600');
}

function registerHealth(app: FastifyInstance, generations: Generations): void {
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/readyz', (_request, reply) =>
    generations.ready ? { status: 'ready' } : reply.code(503).send({ status: 'shutting_down' }),
  );
}

async function registerTrpc(scope: FastifyInstance, options: ServerOptions): Promise<void> {
  const { router } = options;
  // tRPC's handlers read the body themselves.
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
  scope.all<{ Params: { '*': string } }>('/trpc/*', async (request, reply) => {
    reply.hijack();
    const path = request.params['*'];
    if (isSubscription(router, path, request.headers.accept)) {
      await serveSubscription(request.raw, reply.raw, path, options);
      return;
    }
    await nodeHTTPRequestHandler({
      router,
      path,
      req: request.raw,
      res: reply.raw,
      createContext: ({ req, res, info }) => ({ req, res, info: { ...info, connectionParams: null } }),
      maxBodySize: options.bodyBytesMax,
      maxBatchSize: batchSizeMax,
      allowMethodOverride: true,
    });
  });
}

function routeUpgrades(app: FastifyInstance, webSockets: WebSocketDoor): void {
  app.server.on('upgrade', (request, socket, head) => {
    if (/^\/trpc\/?(\?|$)/.test(request.url ?? '')) webSockets.upgrade(request, socket, head);
    else socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
  });
}

/** fastify's own refusals in our codes; https://fastify.dev/docs/latest/Reference/Errors/ */
function fromFastify(error: FastifyError): LlmError {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new LlmError('too_large', 'The body is larger than this service takes');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return LlmError.invalidInput([{ path: '', message: 'Expected a body of content-type application/json' }]);
    default:
  }
  if (error.statusCode === 400) return LlmError.invalidInput([{ path: '', message: 'The body is not valid JSON' }]);
  return LlmError.from(error);
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}
