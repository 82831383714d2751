/**
 * Where metrics are served: at /metrics of the main listener, or on a listener of their own that has no other route. Knows nothing of
 * what is counted. Metrics need no key, so both look at who can have sent a request: no page of another site, and at the main
 * listener nobody beyond this machine.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Access } from '../access/access.ts';
import { hostNameOf } from '../access/origin.ts';
import { HttpRefusals, invalidRequest, noSuchRoute } from '../doors/http-refusals.ts';
import { isLoopback } from '../settings/loopback.ts';
import type { Exposition } from '../telemetry/metrics.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { urlOf } from './listening.ts';
import { ReadingTurns } from './reading-turns.ts';

const path = '/metrics';
/** Connections to the listener of metrics. A few scrapers keep one each. */
const connectionsMax = 100;
/** How long a request may take to arrive. It has no body that anyone reads. */
const requestTimeoutMs = 10_000;
/** How often that is looked at. Node's own half a minute would let a hundred heads that never end keep scrapers out for as long. */
const timeoutCheckMs = 2_000;
/** Responses that a connection may owe. Scrapers ask once at a time; each response is made whole in memory. */
const pipelinedMax = 4;
/** How long a connection may be quiet: longer than the time between two scrapes. */
const quietMs = 120_000;

/**
 * Adds the route to the main listener, for programs on this machine. What a proxy has passed on comes from elsewhere, so it is
 * refused as if there were no such route.
 */
export function registerMetrics(scope: FastifyInstance, metrics: Exposition, refusals: HttpRefusals): void {
  scope.get(path, async (request, reply) => {
    if (isFromElsewhere(request.headers)) return refusals.send(request, reply, noSuchRoute(request), { status: 404 });
    return sendMetrics(reply, metrics);
  });
}

export interface MetricsListenerOptions {
  /** The name or address to listen on. */
  readonly host: string;
  /** The port to listen on; 0 takes a free one. */
  readonly port: number;
  readonly metrics: Exposition;
  readonly access: Access;
  readonly telemetry: Telemetry;
}

/** A listener that serves metrics alone. Disposing it closes every connection. */
export interface MetricsListener extends AsyncDisposable {
  /** Where it listens, e.g. `http://127.0.0.1:9464`. */
  readonly url: string;
}

/** @throws The listener's own error if the address can't be had. */
export async function startMetricsListener(options: MetricsListenerOptions): Promise<MetricsListener> {
  const { host, port, metrics, access } = options;
  const ofListener = { loopback: isLoopback(host) };
  const refusals = new HttpRefusals(options.telemetry);
  const prepare = ({ id, headers }: FastifyRequest, reply: FastifyReply) => {
    reply.header('x-request-id', id);
    const { 'content-length': length = '0', 'transfer-encoding': coding } = headers;
    // Nobody reads a body here, so its sender can't keep the connection.
    if (coding !== undefined || Number(length) !== 0) reply.header('connection', 'close');
  };
  const pipelines = new Pipelines();
  const app = fastify({
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    serverFactory(route) {
      const times = {
        requestTimeout: requestTimeoutMs,
        connectionsCheckingInterval: timeoutCheckMs,
        keepAliveTimeout: quietMs,
      };
      const server = createServer(times, (request, response) => {
        if (pipelines.admit(request, response)) route(request, response);
      });
      server.on('connection', (socket: Socket) => pipelines.add(socket));
      return server.setTimeout(quietMs);
    },
    genReqId: () => randomUUID(),
    frameworkErrors(_error, request, reply) {
      prepare(request, reply);
      refusals.send(request, reply, invalidRequest('The URL can’t be read'));
    },
  });
  app.server.maxConnections = connectionsMax;
  app.setErrorHandler((error: Error, request, reply) => refusals.send(request, reply, error));
  app.addHook('onRequest', async (request, reply) => {
    prepare(request, reply);
    access.checkHost(request.headers, ofListener);
    access.checkOrigin(request.headers);
    return request.is404 ? refusals.send(request, reply, noSuchRoute(request), { status: 404 }) : undefined;
  });
  app.get(path, (_request, reply) => sendMetrics(reply, metrics));
  await app.listen({ host, port });
  return {
    url: urlOf(app.server),
    async [Symbol.asyncDispose]() {
      pipelines[Symbol.dispose]();
      await app.close();
    },
  };
}

/** Closes connections that ask for more at once than anybody needs, as `OpenResponses` does at the main listener. */
class Pipelines implements Disposable {
  /** The responses that each connection owes. */
  readonly #owed = new Map<Socket, number>();
  readonly #turns = new ReadingTurns(() => this.#owed.keys());

  add(socket: Socket): void {
    this.#owed.set(socket, 0);
    socket.once('close', () => this.#owed.delete(socket));
  }

  /** Whether a request may be answered. */
  admit({ socket }: IncomingMessage, response: ServerResponse): boolean {
    const owed = this.#owed.get(socket);
    if (owed === undefined || socket.destroyed) return false;
    if (owed >= pipelinedMax) {
      socket.destroy();
      this.#turns.cut();
      return false;
    }
    this.#owed.set(socket, owed + 1);
    response.once('close', () => {
      const left = this.#owed.get(socket);
      if (left !== undefined) this.#owed.set(socket, left - 1);
    });
    return true;
  }

  [Symbol.dispose](): void {
    this.#turns[Symbol.dispose]();
  }
}

async function sendMetrics(reply: FastifyReply, metrics: Exposition): Promise<FastifyReply> {
  return reply
    .header('cache-control', 'no-store')
    .type(metrics.contentType)
    .send(await metrics.text());
}

/** Whether a request to a service on loopback names a host beyond it, or says that a proxy has passed it on. */
function isFromElsewhere({ host, forwarded, via, 'x-forwarded-for': forwardedFor }: IncomingHttpHeaders): boolean {
  return !isLoopback(hostNameOf(host)) || (forwarded ?? via ?? forwardedFor) !== undefined;
}
