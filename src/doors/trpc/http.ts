/**
 * The tRPC door over HTTP: the route of all procedures. Subscriptions go to sse.ts. Queries and mutations go to tRPC's own
 * handler, which finds their body read already: by itself it would read a body before it knows the caller, and would parse
 * however many values the body holds.
 */
import { nodeHTTPRequestHandler } from '@trpc/server/adapters/node-http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ResponseRoom } from '../../access/response-room.ts';
import { ownTurn } from '../../flow/turns.ts';
import { invalidRequest, type HttpRefusals } from '../http-refusals.ts';
import type { HttpTraces } from '../http-traces.ts';
import { checkJsonBounds, isJson, readBody } from '../json-body.ts';
import type { RequestNote } from './context.ts';
import { isSubscription, serveSubscription, type SseDoorOptions } from './sse.ts';
import { errorOnWire, logRefusal } from './wire-errors.ts';

export interface HttpDoorOptions extends SseDoorOptions {
  readonly refusals: HttpRefusals;
  readonly traces: HttpTraces;
  /** Makes the account of the answers to one request. */
  readonly roomForResponses: () => ResponseRoom;
  /** The `vary` header of every response. tRPC's handler replaces the one that is set before. */
  readonly vary: string;
}

/** Calls that one batched request of tRPC's links may hold. */
const batchSizeMax = 100;

type Request = FastifyRequest<{ Params: { '*': string } }>;

/** Adds `/trpc/*`. The scope must be this door's own. */
export function registerTrpc(scope: FastifyInstance, options: HttpDoorOptions): void {
  const { router, telemetry, refusals, traces } = options;
  const pathOf = (request: FastifyRequest) => (request as Request).params['*'];
  const doorOf = (request: FastifyRequest) =>
    isSubscription(router, pathOf(request), request.headers.accept) ? 'sse' : 'trpc';
  // The handlers below read the body, after they have judged the credentials.
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
  scope.setErrorHandler(
    refusals.handler({
      door: doorOf,
      body: (error, request) => {
        const note = { door: doorOf(request), requestId: request.id } as const;
        return { error: errorOnWire(router, error, { path: pathOf(request) }, { note }) };
      },
    }),
  );
  scope.route<{ Params: { '*': string } }>({ method: ['GET', 'POST'], url: '/trpc/*', handler });

  async function handler(request: Request, reply: FastifyReply): Promise<void> {
    const path = pathOf(request);
    const trace = traces.of(request);
    if (doorOf(request) === 'sse') {
      reply.hijack();
      await serveSubscription(request.raw, reply.raw, { path, requestId: request.id, trace }, options);
      return;
    }
    // Listens for the close before the first await: a response that closes meanwhile would keep its room for ever.
    const room = options.roomForResponses();
    reply.raw.once('close', () => room[Symbol.dispose]());
    await giveBody(request, options);
    // A batch is up to a hundred calls, which all begin at once.
    if (path.includes(',')) await ownTurn();
    reply.hijack();
    if (request.raw.socket.destroyed) return;
    const note: RequestNote = { door: 'trpc', requestId: request.id, trace, room };
    await nodeHTTPRequestHandler({
      router,
      path,
      req: request.raw,
      res: reply.raw,
      createContext: ({ req, res, info }) => ({ req, res, info: { ...info, connectionParams: null }, note }),
      onError: ({ error }) => logRefusal(telemetry, error, note),
      maxBodySize: options.body.bytesMax,
      maxBatchSize: batchSizeMax,
      allowMethodOverride: true,
      responseMeta: () => ({ headers: new Headers({ vary: options.vary }) }),
    });
  }
}

/** Reads the body of a query or a mutation into `body`, where tRPC's handler looks for it. */
async function giveBody({ raw, method }: FastifyRequest, { body, admit }: SseDoorOptions): Promise<void> {
  using held = admit(raw);
  if (method !== 'POST') return;
  // A form on any site can send a body of another content type, and tRPC's handler would read it.
  if (!isJson(raw.headers['content-type'])) throw invalidRequest('Expected a body of content-type application/json');
  const bytes = await readBody(raw, body, held);
  checkJsonBounds(bytes, body.json);
  Object.assign(raw, { body: bytes.toString() });
}
