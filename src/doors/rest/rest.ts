/**
 * The REST door: the path and the body of the service before this one, and resume, cancel and configs beside them.
 * Events go out as `id`, `event: <type>`, `data: <json>`.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { Caller } from '../../caller.ts';
import type { ConfigSnapshot } from '../../configs/configs.ts';
import { LlmError } from '../../errors.ts';
import type { Generations } from '../../generations/generations.ts';
import type { LogView } from '../../generations/view.ts';
import { emptyBody } from '../json-body.ts';
import { createOpenApiDocument } from './openapi.ts';
import type { InputSchemas } from '../../protocol.ts';
import type { Sink } from '../../flow/sink.ts';
import { lastEventIdOf } from '../sse-cursor.ts';
import { SseResponse, type SseOptions } from '../sse-response.ts';
import { onceForBatch, type LogBatch } from '../../stream-log/stream-log.ts';

export interface RestOptions {
  readonly generations: Generations;
  readonly configs: () => ConfigSnapshot;
  /** @throws LlmError `unauthorized` */
  readonly authenticate: (request: FastifyRequest) => Caller;
  readonly schemas: InputSchemas;
  readonly sse: SseOptions;
}

/**
 * A comment: parsers of event streams pass over it. No blank line follows it, for some (httpx-sse, the SDKs of OpenAI and
 * Anthropic for Python) make an event without data out of every blank line once an event had an id.
 */
const heartbeat = ':\n';

const framesOf = onceForBatch((batch) => {
  let frames = '';
  for (const { id, event, json } of batch) frames += `id: ${id}\nevent: ${event.type}\ndata: ${json}\n\n`;
  return frames;
});

/** Adds the routes under `/api/llm`, and the document that describes them. What they throw is an LlmError, for the server's error handler. */
export function registerRest(app: FastifyInstance, options: RestOptions): void {
  const { generations, schemas, authenticate, sse } = options;

  const openApi = createOpenApiDocument(schemas);
  app.get('/openapi.json', () => openApi);

  app.get('/api/llm/configs', (request) => {
    authenticate(request);
    return options.configs().summaries();
  });

  app.post<{ Params: { config: string } }>('/api/llm/process_stream/:config', async (request, reply) => {
    const caller = authenticate(request);
    if (request.body === undefined) throw emptyBody();
    const body = parse(schemas.restBody, request.body);
    const key = header(request, 'idempotency-key');
    const named = key === undefined ? undefined : parse(schemas.generationId, key, 'Idempotency-Key');
    if (named !== undefined && body.generationId !== undefined && named !== body.generationId) {
      throw LlmError.invalidInput([{ path: 'generationId', message: 'differs from the header Idempotency-Key' }]);
    }
    const asked = {
      ...body,
      generationId: named ?? body.generationId,
      config: request.params.config,
      ...cursor(request),
    };
    await send(reply, sse, (signal) => generations.stream(caller, asked, signal));
  });

  app.get<{ Params: { id: string } }>('/api/llm/generations/:id/events', async (request, reply) => {
    const caller = authenticate(request);
    const asked = { generationId: parse(schemas.generationId, request.params.id, 'id'), ...cursor(request) };
    await send(reply, sse, (signal) => generations.follow(caller, asked, signal));
  });

  app.delete<{ Params: { id: string } }>('/api/llm/generations/:id', async (request) => {
    const caller = authenticate(request);
    const generationId = parse(schemas.generationId, request.params.id, 'id');
    return { outcome: await generations.cancel(caller, generationId) };
  });
}

/** Streams the batches of a view. Nothing is sent before the first is there, so that a refusal is an HTTP status. */
async function send(
  reply: FastifyReply,
  options: SseOptions,
  viewUntil: (signal: AbortSignal) => LogView,
): Promise<void> {
  const stream = new SseResponse(reply.raw, heartbeat, options);
  const view = viewUntil(stream.signal);
  let first: IteratorResult<LogBatch>;
  try {
    first = await view.next();
  } catch (error) {
    stream.release();
    throw error;
  }
  if (first.done && !stream.signal.aborted) {
    stream.release();
    // Before its first event: another instance has it.
    if (view.moved)
      throw new LlmError('shutting_down', 'This instance can’t go on with the answer; ask again', {
        retryAfterMs: 1_000,
      });
    // To an EventSource that reconnects this is the word to stop; there is nothing after the terminal event.
    return reply.code(204).send();
  }
  reply.hijack();
  const write: Sink<LogBatch> = (batch) => stream.write(framesOf(batch), batch.at(-1)?.terminal);
  try {
    if (!first.done) await write(first.value);
    await view.pipe(write);
  } finally {
    await view.return();
    await stream.finish();
  }
}

function parse<T>(schema: z.ZodType<T>, value: unknown, name?: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const refusal = LlmError.from(parsed.error);
  if (name === undefined || !refusal.issues) throw refusal;
  throw LlmError.invalidInput(refusal.issues.map(({ message }) => ({ path: name, message })));
}

function cursor(request: FastifyRequest): { lastEventId?: string | undefined } {
  return { lastEventId: lastEventIdOf(request.raw) };
}

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
