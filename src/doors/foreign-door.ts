/**
 * What the doors for clients of other APIs share: how they start a generation, send it as a stream or whole, and refuse. Each door
 * brings the shapes. Knows none of these APIs.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { HeldBytes } from '../access/held-bytes.ts';
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import type { LogView } from '../generations/view.ts';
import type { CancelledEvent, ErrorEvent, LlmEvent, TerminalEvent } from '../protocol.ts';
import type { RefusalDoor } from '../telemetry/refusal-lines.ts';
import { sendEvents } from './event-response.ts';
import { adaptedConfig, type ForeignRequest } from './foreign-request.ts';
import { heartbeat, type HttpDoorOptions } from './http-door.ts';
import { heldUntilSent, holdFold, readAnswer, type AnswerFold } from './whole-answer.ts';

export interface ForeignDoorOptions extends HttpDoorOptions {
  readonly held: HeldBytes;
}

/** Opens a view that ends when the signal aborts. */
export type ViewUntil = (signal: AbortSignal) => LogView;

/** Starts the generation, or attaches to it. */
export function startForeign(
  { generations, traces }: Pick<ForeignDoorOptions, 'generations' | 'traces'>,
  request: FastifyRequest,
  caller: Caller,
  foreign: ForeignRequest,
  door: RefusalDoor,
): ViewUntil {
  const trace = traces.of(request);
  const entrance = {
    door,
    trace,
    adapt: (config: Parameters<typeof adaptedConfig>[0]) => adaptedConfig(config, foreign),
  };
  return (signal) => generations.stream(caller, foreign.request, signal, entrance);
}

/** What one viewer's stream is made by. */
export interface Encoder {
  /** The frames of one event; empty for none. */
  frames(event: LlmEvent): string;
  /** Characters that the encoder holds of the answer, and puts into its largest frame; 0 for one that holds none. */
  readonly chars: number;
}

/** Streams a view. Where it ends without the generation's end, the connection is cut: a body that ends well looks like a good answer. */
export async function streamForeign(
  reply: FastifyReply,
  { sse, held }: ForeignDoorOptions,
  caller: Caller,
  encoder: Encoder,
  viewUntil: ViewUntil,
): Promise<void> {
  using hold = held.take(caller.name, 0);
  const framesOf = (batch: readonly { readonly event: LlmEvent }[]) => {
    let frames = '';
    for (const { event } of batch) frames += encoder.frames(event);
    holdFold(hold, encoder);
    return frames;
  };
  await sendEvents(reply, sse, { framesOf, heartbeat, cutIfUnfinished: true }, viewUntil);
}

/**
 * Reads an answer to its end. Returns how it ended; undefined if the client has left, and then nothing is to be sent.
 *
 * @throws The refusal of a request whose generation failed, and what `readAnswer` throws.
 */
export async function answerForeign(
  reply: FastifyReply,
  { held }: ForeignDoorOptions,
  caller: Caller,
  fold: AnswerFold,
  { view, named }: { readonly view: ViewUntil; readonly named: boolean },
): Promise<Exclude<TerminalEvent, ErrorEvent> | undefined> {
  const terminal = await heldUntilSent(held, caller, reply, (hold) => readAnswer(reply, hold, fold, view));
  if (!terminal) reply.hijack();
  if (terminal?.type !== 'error') return terminal;
  // Under the same id the same failure would be read again.
  if (named) reply.header(shouldRetry, 'false');
  throw refusalOf(terminal);
}

/** The status for an answer that was cancelled while its client waited for all of it: nginx's for a request that was given up. */
const cancelledStatus = 499;

/** Marks a response to a request that is not to be sent again. */
export function sendCancelled(reply: FastifyReply, body: (ended: CancelledEvent) => object, ended: CancelledEvent) {
  return reply.code(cancelledStatus).header(shouldRetry, 'false').send(body(ended));
}

function refusalOf({ code, message, retryAfterMs, requestId }: ErrorEvent): LlmError {
  return new LlmError(code, message, { retryAfterMs, requestId });
}

const shouldRetry = 'x-should-retry';

const unprocessable = 422;

/**
 * The status of a refusal. SDKs that read no `x-should-retry` repeat every failure of a server, so one that no repetition mends has a
 * status of the 400s: the answers that a second and a third request would bring cost as much as the first.
 */
export function retryStatus({ code, traits }: LlmError): number {
  const isFinal = !traits.retryable && traits.status >= 500 && code !== 'internal';
  return isFinal ? unprocessable : traits.status;
}

/**
 * The headers of a refusal by which the SDKs of OpenAI and Anthropic decide whether to send the request again. By its status alone
 * they would repeat a `conflict`, and every failure that no repetition mends.
 */
export function retryHeaders({ traits, retryAfterMs }: LlmError): Readonly<Record<string, string>> {
  return {
    [shouldRetry]: String(traits.retryable),
    ...(retryAfterMs === undefined ? {} : { 'retry-after-ms': String(retryAfterMs) }),
  };
}
