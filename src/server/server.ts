/**
 * One listener: tRPC over HTTP, SSE and WebSocket under /trpc, REST under /api, other APIs under /v1, health, the page. Knows which
 * request goes to which door, and whom it keeps out before any door. Knows nothing of what the doors write.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerOptions as ServerOptionsOfNode } from 'node:http';
import { Server as NetServer } from 'node:net';
import type { Duplex } from 'node:stream';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Access } from '../access/access.ts';
import { ClientAddresses } from '../access/client-address.ts';
import type { HeldBytes } from '../access/held-bytes.ts';
import { ResponseRoom } from '../access/response-room.ts';
import type { ConfigSnapshot } from '../configs/configs.ts';
import { registerAgUi } from '../doors/ag-ui/ag-ui.ts';
import { registerAnthropic } from '../doors/anthropic/anthropic.ts';
import { BodyPieces } from '../doors/body-pieces.ts';
import type { FlowLimits } from '../doors/flow-control.ts';
import type { ForeignDoorOptions } from '../doors/foreign-door.ts';
import type { HttpDoorOptions } from '../doors/http-door.ts';
import { HttpRefusals, invalidRequest, noSuchRoute } from '../doors/http-refusals.ts';
import { attributesOf, HttpTraces } from '../doors/http-traces.ts';
import { registerJsonBodies, type Admit, type BodyLimits } from '../doors/json-body.ts';
import { livenessFor } from '../doors/liveness.ts';
import { registerOpenAi } from '../doors/openai/openai.ts';
import { registerRest } from '../doors/rest/rest.ts';
import type { SseOptions } from '../doors/sse-response.ts';
import { registerTrpc } from '../doors/trpc/http.ts';
import { uiBodySchema } from '../doors/ui/ui-body.ts';
import { registerUi } from '../doors/ui/ui.ts';
import type { LlmRouter } from '../doors/trpc/router.ts';
import { createWebSocketDoor, refuseUpgrade } from '../doors/trpc/websocket.ts';
import { LlmError } from '../errors.ts';
import type { Generations } from '../generations/generations.ts';
import type { JsonBounds } from '../json/json-bounds.ts';
import type { InputSchemas } from '../protocol.ts';
import type { Limits } from '../settings/limits.ts';
import type { Exposition } from '../telemetry/metrics.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { corsHeaders, preflightHeaders, varyByOrigin } from './cors.ts';
import { urlOf } from './listening.ts';
import { registerMetrics } from './metrics.ts';
import { OpenResponses } from './open-responses.ts';
import { registerPage } from './page.ts';
import { ReadingTurns } from './reading-turns.ts';
import { Retirement } from './retirement.ts';
import { StallWatch } from './stalls.ts';
import { UnreadableRequests } from './unreadable-requests.ts';
import { serveWithoutUpgrade, wantsWebSocket } from './unwanted-upgrade.ts';

export interface ServerOptions {
  /** The name or address to listen on. */
  readonly host: string;
  /** The port to listen on; 0 takes a free one. */
  readonly port: number;
  readonly router: LlmRouter<never>;
  readonly generations: Generations;
  readonly configs: () => ConfigSnapshot;
  readonly access: Access;
  /** Addresses and networks of proxies that say the truth about the addresses of clients. */
  readonly trustedProxies: readonly string[];
  readonly held: HeldBytes;
  readonly schemas: InputSchemas;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
  /** Whether the routes under `/v1` exist. */
  readonly openAiDoor: boolean;
  /** Whether the page is served. */
  readonly page: boolean;
  /** Served at `/metrics`; undefined where they are served elsewhere, or nowhere. */
  readonly metrics: Exposition | undefined;
}

/** A listener. Disposing it closes every connection, after it has given finished responses a moment to leave. */
export interface Server extends AsyncDisposable {
  /** Where it listens, e.g. `http://127.0.0.1:3000`. */
  readonly url: string;
  /** WebSockets that are open. */
  readonly sockets: number;
  /** Responses that have not left whole. */
  readonly openResponses: number;
  /**
   * Accepts no more connections, and has clients take others for their next requests, which lead to whoever listens too. Everything
   * is served as ever meanwhile. Settles once no connection is left.
   */
  retire(): Promise<void>;
}

/** The part of all WebSockets that one caller may have. */
const callerShareMax = 4 / 5;
/** Levels of a request's JSON around a content block: batch, call, input, messages, content. */
const envelopeDepth = 10;
/** How long a connection is kept for a next request: longer than the minute of most load balancers, which then close first. */
const keepAliveMs = 72_000;
/** How long a client may take to send a request whole. */
const requestTimeoutMs = 120_000;
/** How long finished responses may take to leave when the listener closes. */
const closeMs = 1_000;

/** @throws The listener's own error if the address can't be had. */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { router, generations, configs, access, held, schemas, telemetry, limits } = options;
  const { bodyBytesMax, heartbeatMs, reconnectMs, socketBufferBytesMax, socketStallMs } = limits;
  const flow: FlowLimits = { socketBufferBytesMax, socketStallMs };
  const sse: SseOptions = { socketBufferBytesMax, socketStallMs, heartbeatMs, reconnectMs };
  const json: JsonBounds = { valuesMax: limits.jsonValuesMax, depthMax: limits.blockDepthMax + envelopeDepth };
  const liveness = () => livenessFor(configs(), heartbeatMs);
  const traces = new HttpTraces(telemetry, (path) => Object.hasOwn(router._def.procedures, path));
  const refusals = new HttpRefusals(telemetry, traces);
  const responses = new OpenResponses(limits.pipelinedMax, () => turns.cut());
  const turns = new ReadingTurns(() => responses.connections);
  const pieces = new BodyPieces(() => turns.cut());
  const body: BodyLimits = { bytesMax: bodyBytesMax, json, pieces };
  const admit: Admit = (request) => held.take(access.authenticate(request).name, 0);

  const retirement = new Retirement(responses, () => webSockets.sockets);
  const unreadable = new UnreadableRequests(telemetry, responses);
  const app = createApp({ bodyBytesMax, access, traces, refusals, responses, unreadable, pieces, retirement });
  const stalls = new StallWatch(app.server, socketStallMs);
  // Since this listens for the timeout, Node itself closes no quiet connection. The stall watch looks after those that owe a response.
  app.server.setTimeout(socketStallMs, (socket) => {
    if (responses.isIdle(socket)) socket.destroy();
  });
  registerJsonBodies(app, body, admit);
  registerHealth(app, generations);
  if (options.page) await registerPage(app);
  const authenticate = (request: FastifyRequest) => refusals.noteCaller(request, access.authenticate(request));
  const forHttp: HttpDoorOptions = { generations, configs, authenticate, schemas, sse, refusals, traces };
  if (options.openAiDoor) await registerForeign(app, access, { ...forHttp, held });
  await app.register(async (guarded) => {
    guard(guarded, access, '/*');
    if (options.metrics) registerMetrics(guarded, options.metrics, refusals);
    const bodySchema = uiBodySchema(schemas);
    const roomForResponses = () => new ResponseRoom(held, limits.answerBytesMax);
    await guarded.register(async (scope) =>
      registerRest(scope, { ...forHttp, roomForResponses, uiChatRequest: bodySchema }),
    );
    await guarded.register(async (scope) => registerUi(scope, { ...forHttp, bodySchema }));
    await guarded.register(async (scope) => registerAgUi(scope, forHttp));
    await guarded.register(async (scope) =>
      registerTrpc(scope, {
        router,
        body,
        admit,
        checkStart: (request) => access.checkStart(request),
        sse,
        liveness,
        telemetry,
        refusals,
        traces,
        roomForResponses,
        vary: varyByOrigin,
      }),
    );
  });

  const refuseSocket = (request: IncomingMessage, socket: Duplex, error: LlmError, status?: number) => {
    const requestId = randomUUID();
    const { code } = error;
    const trace = telemetry.traces?.request({
      name: 'GET /trpc',
      requestId,
      carrier: request.headers,
      attributes: attributesOf(request),
    });
    trace?.refused(code);
    telemetry.refused({ door: 'websocket', code, requestId, ...(trace && { traceId: trace.traceId }) });
    trace?.end({ 'http.response.status_code': status ?? error.traits.status });
    refuseUpgrade(socket, error, requestId, status);
  };
  const { socketsPerAddressMax } = limits;
  const addresses = socketsPerAddressMax === Infinity ? undefined : new ClientAddresses(options.trustedProxies);
  const webSockets = createWebSocketDoor({
    router,
    flow,
    json,
    liveness,
    telemetry,
    held,
    bodyBytesMax,
    answerBytesMax: limits.answerBytesMax,
    connectionParamsMs: limits.connectionParamsMs,
    subscriptionsPerSocketMax: limits.subscriptionsPerSocketMax,
    callsPerSocketMax: limits.callsPerSocketMax,
    socketBufferBytesMax,
    socketsMax: limits.socketsMax,
    unprovenSocketsMax: limits.unprovenSocketsMax,
    // A caller leaves some sockets for others. Where there are no keys, there are no other callers.
    socketsPerCallerMax: access.keyless
      ? limits.socketsPerCallerMax
      : Math.min(limits.socketsPerCallerMax, Math.ceil(limits.socketsMax * callerShareMax)),
    socketsPerAddressMax,
    addressOf: (request) => addresses?.of(request),
    verify: (credentials) => access.verify(credentials),
    identify: (credentials) => access.identify(credentials),
    onKeyGone: (caller, close) => access.onKeyGone(caller, close),
    check: ({ headers }) => access.checkOrigin(headers),
    refuse: refuseSocket,
  });
  app.server.on('upgrade', (request, socket, head) => {
    if (!wantsWebSocket(request)) return serveWithoutUpgrade(app.server, request, socket, head);
    try {
      access.checkHost(request.headers);
    } catch (error) {
      return refuseSocket(request, socket, LlmError.from(error));
    }
    if (/^\/trpc\/?(\?|$)/.test(request.url ?? '')) return webSockets.upgrade(request, socket, head);
    refuseSocket(request, socket, invalidRequest('No such route for an upgrade'), 404);
  });
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    stalls[Symbol.dispose]();
    await webSockets[Symbol.asyncDispose]();
    throw error;
  }
  return {
    url: urlOf(app.server),
    get sockets() {
      return webSockets.sockets;
    },
    get openResponses() {
      return responses.size;
    },
    retire() {
      webSockets.retire();
      // That of HTTP servers would close the connections that are just waiting for a request.
      NetServer.prototype.close.call(app.server);
      return retirement.begin();
    },
    async [Symbol.asyncDispose]() {
      retirement[Symbol.dispose]();
      stalls[Symbol.dispose]();
      pieces[Symbol.dispose]();
      turns[Symbol.dispose]();
      const impatient = new AbortController();
      const patience = setTimeout(() => impatient.abort(), closeMs);
      await Promise.all([webSockets[Symbol.asyncDispose](), responses.allLeft(impatient.signal)]);
      clearTimeout(patience);
      await app.close();
    },
  };
}

interface AppParts {
  readonly bodyBytesMax: number;
  readonly access: Access;
  readonly traces: HttpTraces;
  readonly refusals: HttpRefusals;
  readonly responses: OpenResponses;
  readonly unreadable: UnreadableRequests;
  readonly pieces: BodyPieces;
  readonly retirement: Retirement;
}

/** Fastify over Node's server, with what holds for every request: its turn, its id, CORS headers, its Host, how it is refused. */
function createApp(parts: AppParts): FastifyInstance {
  const { bodyBytesMax, access, traces, refusals, responses, unreadable, pieces, retirement } = parts;
  const prepare = (request: FastifyRequest, reply: FastifyReply) => {
    reply.raw.setHeader('x-request-id', request.id);
    if (retirement.begun) reply.raw.setHeader('connection', 'close');
    allowCrossOrigin(request, reply, access);
  };
  const app = fastify({
    bodyLimit: bodyBytesMax,
    forceCloseConnections: true,
    serverFactory(route) {
      const optionsOfNode = {
        // Node asks it from 24.9 on. Earlier versions emit 'upgrade' for every offer.
        shouldUpgradeCallback: wantsWebSocket,
        keepAliveTimeout: keepAliveMs,
        requestTimeout: requestTimeoutMs,
        // Node's own refusal has no body. The hook below has one.
        requireHostHeader: false,
      };
      return createServer(optionsOfNode as ServerOptionsOfNode, (request, response) => {
        pieces.boundUnread(request, response);
        if (responses.admit(request, response)) route(request, response);
      });
    },
    // Otherwise a HEAD would run what a GET runs, which may be a subscription.
    exposeHeadRoutes: false,
    // A wrong config name must reach the handler, whose refusal names the configs that exist. By default it may have 100 characters.
    routerOptions: { maxParamLength: 1_000 },
    // The service makes every id: one that a client sends could be anything, and the same twice.
    genReqId: () => randomUUID(),
    clientErrorHandler: (error, socket) => unreadable.onClientError(error, socket),
    frameworkErrors(_error, request, reply) {
      prepare(request, reply);
      refusals.send(request, reply, invalidRequest('The URL can’t be read'));
    },
  });
  responses.watch(app.server);
  unreadable.watch(app.server);
  app.setErrorHandler((error: Error, request, reply) => refusals.send(request, reply, error));
  // The page calls it for files that it lacks. Every other unknown route is refused in the hook below, before its body is read.
  app.setNotFoundHandler((request, reply) => refusals.send(request, reply, noSuchRoute(request), { status: 404 }));
  app.addHook('onRequest', async (request, reply) => {
    const { socket } = request.raw;
    await responses.turnOf(reply.raw, socket);
    // The client has left before its turn came: nobody would read the response.
    if (socket.destroyed) return reply.hijack();
    prepare(request, reply);
    traces.begin(request, reply);
    if (request.headers.host === undefined && request.raw.httpVersion !== '1.0') {
      throw invalidRequest('Expected a Host header, as in every request of HTTP/1.1');
    }
    access.checkHost(request.headers);
    if (request.is404) return refusals.send(request, reply, noSuchRoute(request), { status: 404 });
    return undefined;
  });
  return app;
}

/**
 * Keeps pages of other sites from the routes that are registered on this scope, all of them within `paths`, and waits until a token in
 * the head is verified, which the doors judge then. The check is bound to the routes, since the text of a URL can be written in other
 * ways (`/%61pi/…`) than the router understands it.
 */
function guard(scope: FastifyInstance, access: Access, paths: string): void {
  scope.addHook('onRequest', async (request) => {
    access.checkOrigin(request.headers);
    const verified = access.verify(request);
    if (verified) await verified;
  });
  scope.options(paths, async (_request, reply) => reply.code(204).send());
}

/** The doors for clients of other APIs, under `/v1`. */
async function registerForeign(app: FastifyInstance, access: Access, options: ForeignDoorOptions): Promise<void> {
  await app.register(async (guarded) => {
    // Anthropic's clients send their key in a header of its own. All else looks for a key in this one.
    guarded.addHook('onRequest', async ({ headers }) => {
      const key = headers['x-api-key'];
      if (key !== undefined && !/^Bearer /i.test(headers.authorization ?? ''))
        headers.authorization = `Bearer ${String(key)}`;
    });
    guard(guarded, access, '/v1/*');
    await guarded.register(async (scope) => registerOpenAi(scope, options));
    await guarded.register(async (scope) => registerAnthropic(scope, options));
  });
}

/**
 * Lets pages of allowed origins read the response, whatever it is. The headers are set on the raw response: streams take that over,
 * and the headers that fastify keeps would be lost.
 */
function allowCrossOrigin({ method, headers }: FastifyRequest, { raw }: FastifyReply, access: Access): void {
  raw.setHeader('vary', varyByOrigin);
  const origin = access.allowedOrigin(headers);
  if (origin === undefined) return;
  const allowed = { ...corsHeaders(origin), ...(method === 'OPTIONS' ? preflightHeaders(headers) : {}) };
  for (const [name, value] of Object.entries(allowed)) raw.setHeader(name, value);
}

function registerHealth(app: FastifyInstance, generations: Generations): void {
  app.get('/healthz', { exposeHeadRoute: true }, () => ({ status: 'ok' }));
  app.get('/readyz', { exposeHeadRoute: true }, (_request, reply) => {
    const status = generations.readiness;
    return reply.code(status === 'ready' ? 200 : 503).send({ status });
  });
}
