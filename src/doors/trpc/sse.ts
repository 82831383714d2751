/**
 * The tRPC door over SSE, GET and POST: runs a subscription through tRPC's public functions and writes its events on
 * the wire that `httpSubscriptionLink` reads, one write a batch. tRPC's own writer passes each event through two web
 * streams and costs five to seven times as much (docs/decisions/own-sse-writer.md).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { TRPCError, type AnyTRPCRouter } from '@trpc/server';
import { LlmError } from '../../errors.ts';
import type { EventBatches } from './event-batches.ts';
import type { Hold } from '../../access/held-bytes.ts';
import { checkJsonBounds, isJson, parseJsonBody, readBody, type BodyLimits } from '../json-body.ts';
import { asTrpcError, wrapJson, type RequestNote } from './router.ts';
import { lastEventIdOf } from '../sse-cursor.ts';
import { SseResponse, type SseOptions } from '../sse-response.ts';
import { onceForBatch } from '../../stream-log/stream-log.ts';
import type { Telemetry } from '../../telemetry/telemetry.ts';
import type { Liveness } from '../liveness.ts';
import { callProcedure, errorOnWire, logRefusal } from './procedure-call.ts';

/**
 * Judges the credentials in a request's head, before a byte of its body is read. Gives the account that the body is read on.
 *
 * @throws LlmError `unauthorized`
 */
export type Admit = (request: IncomingMessage) => Hold;

export interface SseDoorOptions {
  readonly router: AnyTRPCRouter;
  readonly body: BodyLimits;
  readonly admit: Admit;
  /** @throws LlmError `forbidden` for a request that may start no generation. */
  readonly checkStart: (request: IncomingMessage) => void;
  readonly sse: SseOptions;
  /** Asked for each subscription. */
  readonly liveness: () => Liveness;
  readonly telemetry: Telemetry;
}

/** tRPC's words, to the byte: its links look at the name alone, and readers of this wire know that the data is empty. */
const heartbeat = 'event: ping\ndata: \n\n';
const returned = 'event: return\ndata: \n\n';

const framesOf = onceForBatch((batch) => {
  let frames = '';
  for (const { id, json } of batch) frames += `data: ${wrapJson(json)}\nid: ${id}\n\n`;
  return frames;
});

/** Whether a request is for this door; every other one is for tRPC's handler of queries and mutations. */
export function isSubscription(router: AnyTRPCRouter, path: string, accept: string | undefined): boolean {
  const procedures: Record<string, { _def: { type: string } } | undefined> = router._def.procedures;
  // An unknown path is answered here too if an event stream is wanted: a bare 404 tells an EventSource nothing.
  const known = Object.hasOwn(procedures, path);
  return known ? procedures[path]?._def.type === 'subscription' : accept === 'text/event-stream';
}

/** Serves one subscription until it ends or its client leaves. Never throws: what goes wrong is told on the stream. */
export async function serveSubscription(
  request: IncomingMessage,
  response: ServerResponse,
  { path, requestId }: { readonly path: string; readonly requestId: string },
  options: SseDoorOptions,
): Promise<void> {
  const { router, sse, telemetry } = options;
  const { heartbeatMs, silenceMs, graceMs } = options.liveness();
  const stream = new SseResponse(response, heartbeat, { ...sse, heartbeatMs });
  const note: RequestNote = { door: 'sse', requestId, checkStart: () => options.checkStart(request) };
  const context = { req: request, res: response, info: {}, note };
  let input: unknown;
  let events: EventBatches | undefined;
  try {
    const url = new URL(request.url ?? '', 'http://localhost');
    const wire = await readInput(request, url, options);
    // Opened before the procedure runs: `start` is to follow at once, and an error is told as an event in any case.
    const client = { reconnectAfterInactivityMs: silenceMs, graceMs };
    void stream.write(`event: connected\ndata: ${JSON.stringify(client)}\n\n`);

    input = deserialize(wire, router);
    const call = { type: 'subscription', path, input, lastEventId: lastEventIdOf(request) } as const;
    events = (await callProcedure(router, call, context, stream.signal)) as EventBatches;
    await events.view.pipe((batch) => stream.write(framesOf(batch), batch.at(-1)?.terminal));
    // Without `return` the client reconnects at once, and may reach an instance that goes on.
    await stream.finish(events.view.moved ? undefined : returned);
  } catch (cause) {
    const refusal = events ? events.refusal(cause) : cause instanceof LlmError ? asTrpcError(cause) : cause;
    if (!stream.signal.aborted) logRefusal(telemetry, refusal, note);
    const error = errorOnWire(router, refusal, { type: 'subscription', path, input }, context);
    stream.end(`event: serialized-error\ndata: ${JSON.stringify(error)}\n\n`);
  }
}

/** @throws LlmError as `admit`, `readBody` and `parseJsonBody` do; TRPCError UNSUPPORTED_MEDIA_TYPE */
async function readInput(request: IncomingMessage, url: URL, { admit, body }: SseDoorOptions): Promise<unknown> {
  // Given back when the input is read: from there on the generation's own account holds it.
  using held = admit(request);
  if (request.method !== 'POST') return readUrl(url, body);
  const contentType = request.headers['content-type'];
  if (!isJson(contentType)) {
    throw new TRPCError({
      code: 'UNSUPPORTED_MEDIA_TYPE',
      message: 'Expected a body of content-type application/json',
    });
  }
  const bytes = await readBody(request, body.bytesMax, held);
  return bytes.length === 0 ? undefined : parseJsonBody(bytes, contentType, body.json);
}

/** The input in the URL of a request by GET. */
function readUrl(url: URL, { json }: BodyLimits): unknown {
  const raw = url.searchParams.get('input');
  if (raw === null || raw === '') return undefined;
  checkJsonBounds(Buffer.from(raw), json);
  try {
    return JSON.parse(raw);
  } catch {
    throw unreadable();
  }
}

function deserialize(wire: unknown, router: AnyTRPCRouter): unknown {
  try {
    return router._def._config.transformer.input.deserialize(wire);
  } catch {
    throw unreadable();
  }
}

function unreadable(): TRPCError {
  return new TRPCError({ code: 'PARSE_ERROR', message: 'The input is not JSON as tRPC writes it' });
}
