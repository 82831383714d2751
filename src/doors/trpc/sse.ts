/**
 * The tRPC door over SSE, by GET and POST: runs a subscription by tRPC's public functions, and writes its events on the wire that
 * `httpSubscriptionLink` reads, one write for each batch. tRPC's own writer passes each event through two web streams, which costs
 * seven to nine times as much as one write (docs/decisions/own-sse-writer.md).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { TRPCError, type AnyTRPCRouter } from '@trpc/server';
import type { EventBatches } from './event-batches.ts';
import { checkJsonBounds, isJson, parseJsonBody, readBody, type Admit, type BodyLimits } from '../json-body.ts';
import type { RequestNote } from './context.ts';
import { lastEventIdOf } from '../sse-cursor.ts';
import { SseResponse, type SseOptions } from '../sse-response.ts';
import { onceForBatch } from '../../stream-log/stream-log.ts';
import type { Telemetry } from '../../telemetry/telemetry.ts';
import type { RequestTrace } from '../../telemetry/traces.ts';
import type { Liveness } from '../liveness.ts';
import { callProcedure } from './procedure-call.ts';
import { wrapJson } from './wire.ts';
import { errorOnWire, logRefusal } from './wire-errors.ts';

export interface SseDoorOptions {
  readonly router: AnyTRPCRouter;
  readonly body: BodyLimits;
  readonly admit: Admit;
  /** @throws LlmError `forbidden` for a request that may start no generation. */
  readonly checkStart: (request: IncomingMessage) => void;
  readonly sse: SseOptions;
  /** Called for each subscription, since the configs may have changed. */
  readonly liveness: () => Liveness;
  readonly telemetry: Telemetry;
}

/** What is known of a request for a subscription. */
interface SubscriptionRequest {
  readonly path: string;
  readonly requestId: string;
  /** Its span; undefined where nothing is traced. */
  readonly trace: RequestTrace | undefined;
}

/** These frames are tRPC's own, to the byte. tRPC's links look at the event's name alone; other clients may expect the empty data. */
const heartbeat = 'event: ping\ndata: \n\n';
const returned = 'event: return\ndata: \n\n';

const framesOf = onceForBatch((batch) => {
  let frames = '';
  for (const { id, json } of batch) frames += `data: ${wrapJson(json)}\nid: ${id}\n\n`;
  return frames;
});

/** Whether a request is for this door. All other requests go to tRPC's handler of queries and mutations. */
export function isSubscription(router: AnyTRPCRouter, path: string, accept: string | undefined): boolean {
  const procedures: Record<string, { _def: { type: string } } | undefined> = router._def.procedures;
  if (Object.hasOwn(procedures, path)) return procedures[path]?._def.type === 'subscription';
  // An unknown path is answered here too if an event stream is wanted: of a response with another status than 200 an EventSource
  // shows its page nothing. No EventSource asks for a batch.
  return accept === 'text/event-stream' && !path.includes(',');
}

/**
 * Serves one subscription until it ends or its client leaves. Never throws: a refusal is an event of the stream. Its status is 200, as
 * that of tRPC's own writer is, since an EventSource shows its page nothing of a response with another status.
 */
export async function serveSubscription(
  request: IncomingMessage,
  response: ServerResponse,
  { path, requestId, trace }: SubscriptionRequest,
  options: SseDoorOptions,
): Promise<void> {
  const { router, sse, telemetry } = options;
  const { heartbeatMs, silenceMs, graceMs } = options.liveness();
  const stream = new SseResponse(response, heartbeat, { ...sse, heartbeatMs });
  const note: RequestNote = { door: 'sse', requestId, trace, checkStart: () => options.checkStart(request) };
  const context = { req: request, res: response, info: {}, note };
  let input: unknown;
  let events: EventBatches | undefined;
  try {
    const url = new URL(request.url ?? '', 'http://localhost');
    const wire = await readInput(request, url, options);
    // Written before the procedure runs: a refusal is an event in any case, and a client learns early that it is connected.
    const client = { reconnectAfterInactivityMs: silenceMs, graceMs };
    void stream.write(`event: connected\ndata: ${JSON.stringify(client)}\n\n`);

    input = deserialize(wire, router);
    const call = { type: 'subscription', path, input, lastEventId: lastEventIdOf(request) } as const;
    events = (await callProcedure(router, call, context, stream.signal)) as EventBatches;
    await events.view.pipe((batch) => stream.write(framesOf(batch), batch.at(-1)?.terminal));
    // Without `return` the client reconnects at once, and may reach an instance that goes on.
    await stream.finish(events.view.moved ? undefined : returned);
  } catch (cause) {
    const refusal = events ? events.refusal(cause) : cause;
    if (!stream.signal.aborted) logRefusal(telemetry, refusal, note);
    const error = errorOnWire(router, refusal, { type: 'subscription', path, input }, context);
    stream.end(`event: serialized-error\ndata: ${JSON.stringify(error)}\n\n`);
  }
}

/** @throws LlmError as `admit`, `readBody` and `parseJsonBody` do; TRPCError UNSUPPORTED_MEDIA_TYPE */
async function readInput(request: IncomingMessage, url: URL, { admit, body }: SseDoorOptions): Promise<unknown> {
  // Given back when the input is read. From then on the generation counts the request.
  using held = admit(request);
  if (request.method !== 'POST') return readUrl(url, body);
  const contentType = request.headers['content-type'];
  if (!isJson(contentType)) {
    throw new TRPCError({
      code: 'UNSUPPORTED_MEDIA_TYPE',
      message: 'Expected a body of content-type application/json',
    });
  }
  const bytes = await readBody(request, body, held);
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
