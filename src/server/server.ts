/**
 * One listener: tRPC over HTTP, SSE and WebSocket under /trpc, REST under /api, health, the page. Knows which request
 * goes to which door, and who is kept out before any; nothing of what the doors say.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerOptions as ServerOptionsOfNode } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Access } from '../access/access.ts';
import { ResponseRoom } from '../access/response-room.ts';
import type { ConfigSnapshot } from '../configs/configs.ts';
import { corsHeaders, preflightHeaders, varyByOrigin } from './cors.ts';
import { BodyPieces } from '../doors/body-pieces.ts';
import { livenessFor } from '../doors/liveness.ts';
import { registerTrpc } from '../doors/trpc/http.ts';
import type { Admit } from '../doors/trpc/sse.ts';
import { createWebSocketDoor, refuseUpgrade } from '../doors/trpc/websocket.ts';
import { LlmError } from '../errors.ts';
import type { FlowLimits } from '../doors/flow-control.ts';
import type { JsonBounds } from '../json/json-bounds.ts';
import type { Limits } from '../settings/limits.ts';
import type { Generations } from '../generations/generations.ts';
import type { HeldBytes } from '../access/held-bytes.ts';
import { HttpRefusals, invalidRequest } from '../doors/http-refusals.ts';
import { parseJsonBody, readBody, type BodyLimits } from '../doors/json-body.ts';
import { OpenAnswers } from './open-answers.ts';
import { registerPage } from './page.ts';
import type { InputSchemas } from '../protocol.ts';
import { registerRest } from '../doors/rest/rest.ts';
import type { LlmRouter } from '../doors/trpc/router.ts';
import type { SseOptions } from '../doors/sse-response.ts';
import { StallWatch } from './stalls.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { serveWithoutUpgrade, wantsWebSocket } from './unwanted-upgrade.ts';

export interface ServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly router: LlmRouter<never>;
  readonly generations: Generations;
  readonly configs: () => ConfigSnapshot;
  readonly access: Access;
  readonly held: HeldBytes;
  readonly schemas: InputSchemas;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

export interface Server extends AsyncDisposable {
  /** Where it listens, e.g. `http://127.0.0.1:3000`. */
  readonly url: string;
  /** WebSockets that are open. */
  readonly sockets: number;
  /** Requests that have not been answered whole. */
  readonly answers: number;
}

/** The part of all WebSockets that one caller may have. */
const callerShareMax = 4 / 5;
/** A refusal repeats no more of a path than this. */
const namedPathCharsMax = 200;
/** Levels of a request's JSON around a content block: batch, call, input, messages, content. */
const envelopeDepth = 10;
/** How long a connection is kept for a next request: longer than the minute of most load balancers, which then close first. */
const keepAliveMs = 72_000;
/** How long a client may take to send a request whole. */
const requestTimeoutMs = 120_000;
/** How long answers that have been given may take to leave when the listener closes. */
const closeMs = 1_000;

/** Listens; disposing it lets what has been answered leave, for a moment, and closes every connection. */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { router, generations, configs, access, held, schemas, telemetry, limits } = options;
  const { bodyBytesMax, heartbeatMs, reconnectMs, socketBufferBytesMax, socketStallMs } = limits;
  const flow: FlowLimits = { socketBufferBytesMax, socketStallMs };
  const sse: SseOptions = { socketBufferBytesMax, socketStallMs, heartbeatMs, reconnectMs };
  const json: JsonBounds = { valuesMax: limits.jsonValuesMax, depthMax: limits.blockDepthMax + envelopeDepth };
  const liveness = () => livenessFor(configs(), heartbeatMs);
  const refusals = new HttpRefusals(telemetry);
  const prepare = (request: FastifyRequest, reply: FastifyReply) => {
    reply.raw.setHeader('x-request-id', request.id);
    allowCrossOrigin(request, reply, access);
  };
  const answers = new OpenAnswers(limits.pipelinedMax);
  const pieces = new BodyPieces((turnEnds) => answers.pauseUntil(turnEnds));
  const body: BodyLimits = { bytesMax: bodyBytesMax, json, pieces };
  const app = fastify({
    bodyLimit: bodyBytesMax,
    forceCloseConnections: true,
    serverFactory(route) {
      // Of Node 24.9 and later, which ask; earlier ones hand over every offer of an upgrade.
      const optionsOfNode = {
        shouldUpgradeCallback: wantsWebSocket,
        keepAliveTimeout: keepAliveMs,
        requestTimeout: requestTimeoutMs,
      };
      return createServer(optionsOfNode as ServerOptionsOfNode, (request, response) => {
        pieces.boundUnread(request, response);
        if (answers.admit(request, response)) route(request, response);
      });
    },
    // Else a HEAD would run what GET runs, and a subscription is among that.
    exposeHeadRoutes: false,
    // A config's name that isn't one must reach the handler, to be told which there are.
    routerOptions: { maxParamLength: 1_000 },
    // Ours alone: one that a client sends could be anything, and twice the same.
    genReqId: () => randomUUID(),
    frameworkErrors(_error, request, reply) {
      prepare(request, reply);
      refusals.send(request, reply, invalidRequest('The URL can’t be read'));
    },
  });
  answers.watch(app.server);
  // A client that is closed so resumes where it was.
  const stalls = new StallWatch(app.server, socketStallMs);
  app.server.setTimeout(socketStallMs, (socket) => {
    if (answers.isIdle(socket)) socket.destroy();
  });
  registerRefusals(app, refusals);
  const admit: Admit = (request) => held.take(access.authenticate(request).name, 0);
  registerBodies(app, body, admit);
  app.addHook('onRequest', async (request, reply) => {
    const { socket } = request.raw;
    await answers.turnOf(reply.raw, socket);
    // Its client has left before its turn came: there is nobody to run it for.
    if (socket.destroyed) return reply.hijack();
    prepare(request, reply);
    access.checkHost(request.headers);
    // Before its body is read: nobody asked for one.
    if (request.is404) return refusals.send(request, reply, noSuchRoute(request), { status: 404 });
    return undefined;
  });
  registerHealth(app, generations);
  await registerPage(app);
  await app.register(async (guarded) => {
    guard(guarded, access);
    const authenticate = (request: FastifyRequest) => refusals.noteCaller(request, access.authenticate(request));
    await guarded.register(async (scope) =>
      registerRest(scope, { generations, configs, authenticate, schemas, sse, refusals }),
    );
    const checkStart = (request: IncomingMessage) => access.checkStart(request);
    const roomForResponses = () => new ResponseRoom(held, limits.answerBytesMax);
    await guarded.register(async (scope) =>
      registerTrpc(scope, {
        router,
        body,
        admit,
        checkStart,
        sse,
        liveness,
        telemetry,
        refusals,
        roomForResponses,
        vary: varyByOrigin,
      }),
    );
  });

  const refuseSocket = (socket: Duplex, error: LlmError, status?: number) => {
    const requestId = randomUUID();
    telemetry.refused({ door: 'websocket', code: error.code, requestId });
    refuseUpgrade(socket, error, requestId, status);
  };
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
    // A caller leaves some for others; where there are no keys, there are no others.
    socketsPerCallerMax: access.keyless
      ? limits.socketsPerCallerMax
      : Math.min(limits.socketsPerCallerMax, Math.ceil(limits.socketsMax * callerShareMax)),
    identify: (credentials) => access.identify(credentials),
    check: ({ headers }) => access.checkOrigin(headers),
    refuse: refuseSocket,
  });
  app.server.on('upgrade', (request, socket, head) => {
    if (!wantsWebSocket(request)) return serveWithoutUpgrade(app.server, request, socket, head);
    try {
      access.checkHost(request.headers);
    } catch (error) {
      return refuseSocket(socket, LlmError.from(error));
    }
    if (/^\/trpc\/?(\?|$)/.test(request.url ?? '')) return webSockets.upgrade(request, socket, head);
    refuseSocket(socket, invalidRequest('No such route for an upgrade'), 404);
  });
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    stalls[Symbol.dispose]();
    await webSockets[Symbol.asyncDispose]();
    throw error;
  }
  const { address, family, port } = app.server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    get sockets() {
      return webSockets.sockets;
    },
    get answers() {
      return answers.size;
    },
    async [Symbol.asyncDispose]() {
      stalls[Symbol.dispose]();
      pieces[Symbol.dispose]();
      const impatient = new AbortController();
      const patience = setTimeout(() => impatient.abort(), closeMs);
      await Promise.all([webSockets[Symbol.asyncDispose](), answers.left(impatient.signal)]);
      clearTimeout(patience);
      await app.close();
    },
  };
}

/** Gives every failure the shape that the doors share. */
function registerRefusals(app: FastifyInstance, refusals: HttpRefusals): void {
  app.setErrorHandler((error: FastifyError, request, reply) => refusals.send(request, reply, error));
  // The page says so of files that it hasn't; every other request is refused before it comes here.
  app.setNotFoundHandler((request, reply) => refusals.send(request, reply, noSuchRoute(request), { status: 404 }));
}

/** JSON is the only body, and every key in it is data: fastify's own parser refuses `__proto__`, and says it is no JSON. */
function registerBodies(app: FastifyInstance, body: BodyLimits, admit: Admit): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', async ({ raw, headers }: FastifyRequest) => {
    using held = admit(raw);
    const bytes = await readBody(raw, body, held);
    // Clients that always name a content type do so without a body, too.
    return bytes.length === 0 ? undefined : parseJsonBody(bytes, headers['content-type'], body.json);
  });
}

/**
 * Keeps other sites' pages from what is registered on this scope. Bound to the routes rather than to a URL's text, which
 * can be written in other ways (`/%61pi/…`) than the router understands it.
 */
function guard(scope: FastifyInstance, access: Access): void {
  scope.addHook('onRequest', async (request) => {
    access.checkOrigin(request.headers);
  });
  scope.options('/*', async (_request, reply) => reply.code(204).send());
}

/**
 * Lets pages of allowed origins read the answer, whatever it is. On the raw response, since the streams take it over and
 * fastify's own headers would be lost.
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
  app.get('/readyz', { exposeHeadRoute: true }, (_request, reply) =>
    generations.ready ? { status: 'ready' } : reply.code(503).send({ status: 'shutting_down' }),
  );
}

function noSuchRoute(request: FastifyRequest): LlmError {
  return invalidRequest(`No such route: ${request.method} ${pathOf(request).slice(0, namedPathCharsMax)}`);
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}
