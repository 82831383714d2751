/**
 * Traces requests over HTTP: those for a door, not those for health, metrics or the page. Knows which span belongs to which request, and
 * what the conventions for HTTP say of one. https://opentelemetry.io/docs/specs/semconv/http/http-spans/
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { RequestTrace } from '../telemetry/traces.ts';

/** Characters of a path that a span repeats. */
const pathCharsMax = 200;
const trpcRoute = '/trpc/*';
const doorRoutes = /^\/(?:api\/llm|v1)\//;

export class HttpTraces {
  readonly #telemetry: Pick<Telemetry, 'traces'>;
  readonly #isProcedure: (path: string) => boolean;
  readonly #traces = new WeakMap<IncomingMessage, RequestTrace>();

  /** @param isProcedure Whether tRPC's router has a procedure of this path. No other path is part of a span's name. */
  constructor(telemetry: Pick<Telemetry, 'traces'>, isProcedure: (path: string) => boolean) {
    this.#telemetry = telemetry;
    this.#isProcedure = isProcedure;
  }

  /** Begins the span of a request to a door, which ends with the response. Does nothing where nothing is traced. */
  begin(request: FastifyRequest, { raw: response }: FastifyReply): void {
    const route = this.#telemetry.traces && this.#routeOf(request);
    if (route === undefined) return;
    const { method, headers, id: requestId, raw } = request;
    const trace = this.#telemetry.traces!.request({
      name: `${method} ${route}`,
      requestId,
      carrier: headers,
      attributes: { ...attributesOf(raw), 'http.route': route },
    });
    this.#traces.set(raw, trace);
    response.once('close', () => {
      trace.end(response.headersSent ? { 'http.response.status_code': response.statusCode } : {});
    });
  }

  /** The span of a request; undefined where it is not traced. */
  of({ raw }: FastifyRequest): RequestTrace | undefined {
    return this.#traces.get(raw);
  }

  /** Undefined for a request to no door. */
  #routeOf({ routeOptions: { url: route }, params }: FastifyRequest): string | undefined {
    if (route === trpcRoute) {
      const { '*': path } = params as { readonly '*': string };
      return this.#isProcedure(path) ? `/trpc/${path}` : trpcRoute;
    }
    return route !== undefined && doorRoutes.test(route) ? route : undefined;
  }
}

/** What the conventions say of each request over HTTP, an upgrade included. */
export function attributesOf({ method = 'GET', url = '' }: IncomingMessage): Record<string, string> {
  const [path = ''] = url.split('?', 1);
  return { 'http.request.method': method, 'url.scheme': 'http', 'url.path': path.slice(0, pathCharsMax) };
}
