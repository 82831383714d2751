/**
 * The REST door: its routes, and what each takes from path, headers and body. The first route is that of the Python
 * service that this one replaces; resume, lists, cancel and configs stand beside it. Knows no sockets; event-response.ts sends.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { ResponseRoom } from '../../access/response-room.ts';
import { mayUse } from '../../caller.ts';
import { LlmError } from '../../errors.ts';
import type { PageRequest } from '../../protocol.ts';
import { onceForBatch } from '../../stream-log/stream-log.ts';
import { sendEvents, type EventDialect } from '../event-response.ts';
import { heartbeat, type HttpDoorOptions } from '../http-door.ts';
import { plainBody } from '../http-refusals.ts';
import { emptyBody } from '../json-body.ts';
import { parseInput } from '../parse-input.ts';
import { lastEventIdOf } from '../sse-cursor.ts';
import { createOpenApiDocument } from './openapi.ts';

export interface RestOptions extends HttpDoorOptions {
  /** Room for the response to one request. The door disposes it when the response has left. */
  readonly roomForResponses: () => ResponseRoom;
  /** The schema of the body of the AI SDK's door, for the OpenAPI document. */
  readonly uiChatRequest: z.ZodType;
}

const dialect: EventDialect = {
  framesOf: onceForBatch((batch) => {
    let frames = '';
    for (const { id, event, json } of batch) frames += `id: ${id}\nevent: ${event.type}\ndata: ${json}\n\n`;
    return frames;
  }),
  heartbeat,
};

/** Adds the routes under `/api/llm`, and `/openapi.json`, which describes them. The scope must be REST's own. */
export function registerRest(scope: FastifyInstance, options: RestOptions): void {
  const { generations, schemas, authenticate, sse, refusals, traces } = options;
  const entranceOf = (request: FastifyRequest) => ({ door: 'rest', trace: traces.of(request) }) as const;
  scope.setErrorHandler(refusals.handler({ door: () => 'rest', body: plainBody }));

  const openApi = createOpenApiDocument(schemas, options.uiChatRequest);
  scope.get('/openapi.json', () => openApi);

  scope.get('/api/llm/configs', (request) => {
    const caller = authenticate(request);
    return options
      .configs()
      .summaries()
      .filter(({ name }) => mayUse(caller, name));
  });

  scope.post<{ Params: { config: string } }>('/api/llm/process_stream/:config', async (request, reply) => {
    const caller = authenticate(request);
    if (request.body === undefined) throw emptyBody();
    const body = parseInput(schemas.restBody, request.body);
    const key = header(request, 'idempotency-key');
    const named = key === undefined ? undefined : parseInput(schemas.generationId, key, 'Idempotency-Key');
    if (named !== undefined && body.generationId !== undefined && named !== body.generationId) {
      throw LlmError.invalidInput([{ path: 'generationId', message: 'differs from the header Idempotency-Key' }]);
    }
    const asked = {
      ...body,
      generationId: named ?? body.generationId,
      config: request.params.config,
      ...cursor(request),
    };
    await sendEvents(reply, sse, dialect, (signal) => generations.stream(caller, asked, signal, entranceOf(request)));
  });

  scope.get<{ Params: { id: string } }>('/api/llm/generations/:id/events', async (request, reply) => {
    const caller = authenticate(request);
    const asked = { generationId: parseInput(schemas.generationId, request.params.id, 'id'), ...cursor(request) };
    await sendEvents(reply, sse, dialect, (signal) => generations.follow(caller, asked, signal, entranceOf(request)));
  });

  scope.get<{ Querystring: { thread?: unknown } }>('/api/llm/events', async (request, reply) => {
    const caller = authenticate(request);
    const asked = { thread: parseInput(schemas.thread, request.query.thread, 'thread'), ...cursor(request) };
    await sendEvents(reply, sse, dialect, (signal) => generations.follow(caller, asked, signal, entranceOf(request)));
  });

  scope.get<{ Querystring: Partial<Record<keyof PageRequest, unknown>> }>('/api/llm/generations', (request, reply) => {
    const caller = authenticate(request);
    const { limit, before, thread } = request.query;
    const page = { limit: limit === undefined ? undefined : Number(limit), before, thread };
    const room = options.roomForResponses();
    reply.raw.once('close', () => room[Symbol.dispose]());
    const asked = parseInput(schemas.generations, page) ?? {};
    return generations.list(caller, asked, (bytes) => room.take(caller, bytes));
  });

  scope.post<{ Params: { id: string } }>('/api/llm/generations/:id/results', async (request) => {
    const caller = authenticate(request);
    if (request.body === undefined) throw emptyBody();
    const generationId = parseInput(schemas.generationId, request.params.id, 'id');
    const { results } = parseInput(schemas.restResults, request.body);
    return { resolved: await generations.resolve(caller, generationId, results) };
  });

  scope.delete<{ Params: { id: string } }>('/api/llm/generations/:id', async (request) => {
    const caller = authenticate(request);
    const generationId = parseInput(schemas.generationId, request.params.id, 'id');
    return { outcome: await generations.cancel(caller, generationId) };
  });
}

function cursor(request: FastifyRequest): { lastEventId?: string | undefined } {
  return { lastEventId: lastEventIdOf(request.raw) };
}

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
