/**
 * The door for the AI SDK's own transport, so that Vue, Svelte and Angular need no package of ours: the routes that
 * `new DefaultChatTransport({ api: '/api/llm/ui/tutor' })` calls, and one that stops an answer, which that transport can't.
 *
 * A chat's id is the thread of its generations. No route but the first starts one.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { goOn, type AnswerTaker } from '../../adapters/ui-answers.ts';
import { carry, type Batches, type CarriedTo } from '../../adapters/ui-carry.ts';
import { UiChunks } from '../../adapters/ui-chunks.ts';
import type { UIMessageChunk } from '../../adapters/ui-message.ts';
import { mayUse, type Caller } from '../../caller.ts';
import { movedAway, type LogView } from '../../generations/view.ts';
import { generationNotFound } from '../../stream-log/stream-log.ts';
import { heartbeat, type HttpDoorOptions } from '../http-door.ts';
import { plainBody } from '../http-refusals.ts';
import { emptyBody } from '../json-body.ts';
import { parseInput } from '../parse-input.ts';
import { SseResponse, type SseOptions } from '../sse-response.ts';
import { continuedMessageId, refuseUnread, streamRequestOf, type UiBodySchema } from './ui-body.ts';
import { framesOf, isSoon, lastFrame, uiStreamHeaders } from './ui-frames.ts';

export interface UiOptions extends HttpDoorOptions {
  /** The schema of the body. */
  readonly bodySchema: UiBodySchema;
}

const door = 'ui';

interface ChatParams {
  readonly Params: { readonly config: string; readonly chatId: string };
}

/** Adds the routes under `/api/llm/ui`. The scope must be this door's own. */
export function registerUi(scope: FastifyInstance, options: UiOptions): void {
  const { generations, configs, schemas, bodySchema, authenticate, refusals, traces } = options;
  const entranceOf = (request: FastifyRequest) => ({ door, trace: traces.of(request) }) as const;
  const sse = { ...options.sse, headers: uiStreamHeaders };
  scope.setErrorHandler(refusals.handler({ door: () => door, body: plainBody }));

  const newestOf = async (caller: Caller, chatId: string) => {
    const thread = parseInput(schemas.thread, chatId, 'chatId');
    const [newest] = await generations.list(caller, { limit: 1, thread });
    return newest;
  };
  const takerFor = (caller: Caller): AnswerTaker => ({
    resolve: (generationId, answers) => generations.resolve(caller, generationId, answers),
    isRunning: async (generationId) => (await generations.snapshot(caller, generationId)).state === 'running',
  });

  scope.post<{ Params: { config: string } }>('/api/llm/ui/:config', async (request, reply) => {
    const caller = authenticate(request);
    if (request.body === undefined) throw emptyBody();
    const { config } = request.params;
    const body = parseInput(bodySchema, request.body);
    const tools = mayUse(caller, config) ? configs().get(config)?.tools : undefined;
    refuseUnread(body, config, (name) => tools?.get(name) !== undefined);
    await sendChunks(reply, sse, async (watch) => {
      const continued = await goOn(takerFor(caller), body.messages, (generationId) =>
        watch((signal) => generations.follow(caller, { generationId }, signal, entranceOf(request))),
      );
      if (continued) {
        return { batches: continued.batches, chunks: new UiChunks(forLine6, continued), isOpen: true };
      }
      const asked = streamRequestOf(body, config, schemas);
      return {
        batches: watch((signal) => generations.stream(caller, asked, signal, entranceOf(request))),
        chunks: new UiChunks({ ...forLine6, messageId: continuedMessageId(body) }),
      };
    });
  });

  scope.get<ChatParams>('/api/llm/ui/:config/:chatId/stream', async (request, reply) => {
    const caller = authenticate(request);
    const newest = await newestOf(caller, request.params.chatId);
    if (newest?.state !== 'running') return reply.code(204).send();
    const { generationId } = newest;
    return sendChunks(reply, sse, async (watch) => ({
      batches: watch((signal) => generations.follow(caller, { generationId }, signal, entranceOf(request))),
      chunks: new UiChunks(forLine6),
    }));
  });

  scope.post<ChatParams>('/api/llm/ui/:config/:chatId/stop', async (request) => {
    const caller = authenticate(request);
    const newest = await newestOf(caller, request.params.chatId);
    if (!newest) throw generationNotFound();
    return { outcome: await generations.cancel(caller, newest.generationId) };
  });
}

/** Clients of line 6 refuse a stream that says `interrupted`. */
const forLine6 = { cancelledAs: 'other' } as const;

/** Opens a view that ends when the client leaves, and returns its events. */
type Watch = (viewUntil: (signal: AbortSignal) => LogView) => Batches;

interface Opened {
  readonly batches: Batches;
  readonly chunks: UiChunks;
  /** Whether the view had events already, so that nothing can refuse it any more. */
  readonly isOpen?: boolean;
}

/**
 * Streams a generation as chunks. Where its events break off, the connection is closed: to the AI SDK, a body that just ends is a good
 * answer.
 *
 * @throws What `open` throws, and what the view throws before its first batch; then nothing has been sent.
 */
async function sendChunks(
  reply: FastifyReply,
  sse: SseOptions,
  open: (watch: Watch) => Promise<Opened>,
): Promise<void> {
  const stream = new SseResponse(reply.raw, heartbeat, sse);
  // Its own signal, since the view of a generation that waits outlives the response.
  const watching = new AbortController();
  const leave = () => watching.abort('the client has left');
  stream.signal.addEventListener('abort', leave);
  let view: LogView | undefined;
  let carried: AsyncGenerator<readonly UIMessageChunk[], CarriedTo>;
  let next: IteratorResult<readonly UIMessageChunk[], CarriedTo>;
  try {
    const { batches, chunks, isOpen } = await open((viewUntil) => {
      view = viewUntil(watching.signal);
      return eventsOf(view);
    });
    if (isOpen) stream.open();
    // In a later turn, so that a view whose first batch, or end, is at hand decides about the head itself.
    else view?.onOpen(() => setImmediate(() => stream.open()));
    carried = carry(batches, chunks, isSoon);
    next = await carried.next();
    // The instance is leaving before the view had an event: another one has the answer.
    if (next.done && view?.moved && !stream.opened) throw movedAway();
  } catch (error) {
    if (stream.opened) stream.cut();
    else stream.release();
    throw error;
  }
  reply.hijack();
  try {
    for (; !next.done; next = await carried.next()) await stream.write(framesOf(next.value));
    if (next.value === 'waits') stream.signal.removeEventListener('abort', leave);
    if (next.value === undefined) stream.cut();
    else await stream.finish(lastFrame);
  } catch (error) {
    stream.cut();
    throw error;
  }
}

/** The events of a view, batch by batch. */
function eventsOf(view: LogView): Batches {
  return {
    async next() {
      const { done, value } = await view.next();
      return done ? { done, value: undefined } : { done: false, value: value.map(({ event }) => event) };
    },
    async return() {
      await view.return();
      return { done: true, value: undefined };
    },
  };
}
