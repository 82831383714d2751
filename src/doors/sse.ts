/**
 * The tRPC door over SSE, GET and POST: runs a subscription through tRPC's public functions and writes its events on
 * the wire that `httpSubscriptionLink` reads, one write a batch. tRPC's own writer passes each event through two web
 * streams and costs five to seven times as much (docs/decisions/own-sse-writer.md).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { TRPCError, type AnyTRPCRouter } from '@trpc/server';
import type { EventBatches } from '../event-batches.ts';
import { wrapJson } from '../router.ts';
import { SseResponse, type SseOptions } from '../sse-response.ts';
import { onceForBatch } from '../stream-log/stream-log.ts';
import type { Liveness } from './liveness.ts';
import { callProcedure, errorOnWire } from './procedure-call.ts';

export interface SseDoorOptions {
  readonly router: AnyTRPCRouter;
  readonly bodyBytesMax: number;
  readonly sse: SseOptions;
  /** Asked for each subscription. */
  readonly liveness: () => Liveness;
}

/** tRPC's words: the client takes an event of this name as a sign of life. */
const heartbeat = 'event: ping\ndata: \n\n';

const framesOf = onceForBatch((batch) => {
  let frames = '';
  for (const { id, json } of batch) frames += `data: ${wrapJson(json)}\nid: ${id}\n\n`;
  return frames;
});

/** Whether a request is for this door; every other one is for tRPC's handler of queries and mutations. */
export function isSubscription(router: AnyTRPCRouter, path: string, accept: string | undefined): boolean {
  const procedures: Record<string, { _def: { type: string } } | undefined> = router._def.procedures;
  // An unknown path is answered here too if an event stream is wanted: a bare 404 tells an EventSource nothing.
  return procedures[path]?._def.type === 'subscription' || (!(path in procedures) && accept === 'text/event-stream');
}

/** Serves one subscription until it ends or its client leaves. Never throws: what goes wrong is told on the stream. */
export async function serveSubscription(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  { router, bodyBytesMax, sse, liveness }: SseDoorOptions,
): Promise<void> {
  const { heartbeatMs, silenceMs, graceMs } = liveness();
  const stream = new SseResponse(response, heartbeat, { ...sse, heartbeatMs });
  const context = { req: request, res: response, info: {} };
  let input: unknown;
  let events: EventBatches | undefined;
  try {
    const url = new URL(request.url ?? '', 'http://localhost');
    const raw = request.method === 'POST' ? await readBody(request, bodyBytesMax) : url.searchParams.get('input');
    // Opened before the procedure runs: `start` is to follow at once, and an error is told as an event in any case.
    const client = { reconnectAfterInactivityMs: silenceMs, graceMs };
    void stream.write(`event: connected\ndata: ${JSON.stringify(client)}\n\n`);

    input = deserialize(raw, router);
    const call = { type: 'subscription', path, input, lastEventId: lastEventIdOf(request, url) } as const;
    events = (await callProcedure(router, call, context, stream.signal)) as EventBatches;
    await events.view.pipe((batch) => stream.write(framesOf(batch), batch.at(-1)?.terminal));
    await stream.finish('event: return\ndata: \n\n');
  } catch (cause) {
    const refusal = events ? events.refusal(cause) : cause;
    const error = errorOnWire(router, refusal, { type: 'subscription', path, input }, context);
    stream.end(`event: serialized-error\ndata: ${JSON.stringify(error)}\n\n`);
  }
}

/** @throws TRPCError PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE */
async function readBody(request: IncomingMessage, bytesMax: number): Promise<string> {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    throw new TRPCError({
      code: 'UNSUPPORTED_MEDIA_TYPE',
      message: 'Expected a body of content-type application/json',
    });
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  await new Promise<void>((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      // What is over the limit is read on and dropped: a client that still sends would not see the answer.
      if (bytes <= bytesMax) chunks.push(chunk);
    });
    request.on('end', resolve);
    request.on('error', reject);
    request.on('close', () => {
      if (!request.complete) reject(new Error('the client left in the middle of its request'));
    });
  });
  if (bytes > bytesMax) {
    throw new TRPCError({ code: 'PAYLOAD_TOO_LARGE', message: `The body is larger than ${bytesMax} bytes` });
  }
  return Buffer.concat(chunks).toString();
}

function deserialize(raw: string | null, router: AnyTRPCRouter): unknown {
  if (raw === null || raw === '') return undefined;
  try {
    return router._def._config.transformer.input.deserialize(JSON.parse(raw));
  } catch {
    throw new TRPCError({ code: 'PARSE_ERROR', message: 'The input is not JSON as tRPC writes it' });
  }
}

/** A native EventSource reconnects with the header, tRPC's link with a new input, a client of its own with either. */
function lastEventIdOf(request: IncomingMessage, url: URL): string | undefined {
  const header = request.headers['last-event-id'];
  return (Array.isArray(header) ? header[0] : header) || url.searchParams.get('lastEventId') || undefined;
}
