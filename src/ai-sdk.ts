/**
 * The service behind `useChat` of the AI SDK: a transport over `createLlmClient`, which keeps its promises there, and the encoders of
 * adapters/. Written against the shape of `ChatTransport`, so that it needs no `ai` and fits the lines 6 and 7.
 *
 * What makes it more than an encoder: a stop is not a disconnect, a lost answer is replayed from its beginning, an answer that waits
 * for the client goes on with its generation, and errors keep their codes.
 */
import { goOn, type AnswerTaker } from './adapters/ui-answers.ts';
import { carry, oneByOne, type Batches, type CarriedTo } from './adapters/ui-carry.ts';
import { UiChunks } from './adapters/ui-chunks.ts';
import { toMessages, UnsupportedMessageError } from './adapters/ui-history.ts';
import type { UIMessageChunk, UIMessageLike } from './adapters/ui-message.ts';
import { LlmClientError } from './client/error.ts';
import type { LlmClient } from './client/llm-client.ts';
import type { Procedures, Run } from './client/run.ts';
import type { AnyAppRouter, ConfigsOf, InputFor } from './doors/trpc/router-answers.ts';
import type { CancelOutcome, FollowRequest, StreamRequest } from './protocol.ts';

export type { AnyAppRouter } from './doors/trpc/router-answers.ts';
export { toUIMessageChunks, type UiChunkOptions } from './adapters/ui-chunks.ts';
export { toMessages, UnsupportedMessageError } from './adapters/ui-history.ts';
export type {
  Failure,
  FinishReason,
  JsonObject,
  JsonValue,
  LlmMetadata,
  PartDelta,
  PartEdge,
  PartMetadata,
  Source,
  ToolFacts,
  ToolInput,
  UIMessageChunk,
  UIMessageLike,
} from './adapters/ui-message.ts';

/** Which config answers, and what happens to its answers when nobody reads them any more. */
export type ChatTransportOptions<TRouter extends AnyAppRouter, Name> = {
  /** Name of the config that answers. */
  readonly config: Name;
  /**
   * What an abort does, which is all that `stop()` of `useChat` sends, and what a component sends that unmounts. `leave`, the default,
   * closes the connection only: the config's `on_disconnect` then decides whether the answer goes on. `cancel` also stops the answer,
   * so navigation stops it too. The transport's own `stop` always does.
   */
  readonly onAbort?: 'leave' | 'cancel' | undefined;
} & Pick<InputFor<TRouter, Name>, 'variables' & keyof InputFor<TRouter, Name>>;

/** What `useChat` passes on of a request. */
export interface ChatRequest {
  /** The chat's id: the `thread` of its generations. */
  readonly chatId: string;
  /** Aborts when nobody reads the answer any more. */
  readonly abortSignal?: AbortSignal | undefined;
  /** What the app adds to one request: `variables` replaces those of the transport. */
  readonly body?: object | undefined;
}

/** The transport: a `ChatTransport` of the AI SDK, and `stop`. */
export interface LlmChatTransport {
  /** A resumed stream begins with the first word of the answer again. Without this field, `useChat` would show it twice. */
  readonly resumeStreamIsReplay: true;
  /** Asks for the answer to the messages, or goes on with the generation whose calls they answer. */
  sendMessages(
    request: ChatRequest & {
      /** The whole conversation. */
      readonly messages: readonly UIMessageLike[];
    },
  ): Promise<ReadableStream<UIMessageChunk>>;
  /**
   * Replays the chat's newest answer while it runs, from its beginning. Null where none runs; an answer whose stream broke off here is
   * replayed also if it has ended meanwhile.
   */
  reconnectToStream(request: ChatRequest): Promise<ReadableStream<UIMessageChunk> | null>;
  /**
   * Stops the chat's newest answer. Its stream goes on to its end, with all parts done and with what the answer has cost: so don't call
   * `stop()` of `useChat` beside it.
   *
   * @throws LlmClientError `generation_not_found` where the chat has no answer.
   */
  stop(chatId: string): Promise<CancelOutcome>;
}

/** How long a message stays open whose generation waits for the client. It may have just ended, and then its account follows. */
const settleMs = 50;

/** A transport for `useChat({ transport })`. */
export function createChatTransport<TRouter extends AnyAppRouter, const Name extends ConfigsOf<TRouter>>(
  llm: LlmClient<TRouter>,
  options: ChatTransportOptions<TRouter, Name>,
): LlmChatTransport {
  const { config, variables, onAbort = 'leave' } = options as AnyOptions;
  const client = llm as unknown as AnyClient;
  const procedures = client.trpc.llm;
  const service: AnswerTaker = {
    resolve: (generationId, results) => refusing(client.resolve({ generationId, results })),
    isRunning: async (generationId) =>
      (await refusing(procedures.generation.query({ generationId }))).state === 'running',
  };
  /** The runs that are read, by chat. */
  const reading = new Map<string, Run>();
  /** The generations whose streams broke off before their terminal event, by chat. */
  const broken = new Map<string, string>();

  /** What is read of one answer, from the moment when it is asked for. */
  function reader({ chatId, abortSignal }: ChatRequest) {
    const abort = new AbortController();
    let run: Run | undefined;
    let batches: Batches | undefined;
    const leave = () => {
      if (abort.signal.aborted) return;
      abort.abort(abortSignal?.reason ?? Object.assign(new Error('Nobody reads the stream'), { name: 'AbortError' }));
      // Between two chunks nobody waits for an event, so nobody would see the signal.
      batches?.return?.().catch(() => undefined);
      ended(true);
      if (onAbort === 'cancel') run?.cancel().catch(() => undefined);
    };
    const ended = (whole: boolean) => {
      abortSignal?.removeEventListener('abort', leave);
      if (!run) return;
      if (reading.get(chatId) === run) reading.delete(chatId);
      if (whole || abort.signal.aborted) broken.delete(chatId);
      else broken.set(chatId, run.generationId);
    };
    if (abortSignal?.aborted) leave();
    abortSignal?.addEventListener('abort', leave, { once: true });
    return {
      /** The events of a run that ends when nobody reads it any more. */
      begin: (open: (options: { readonly signal: AbortSignal }) => Run): Batches => {
        run = open({ signal: abort.signal });
        reading.set(chatId, run);
        batches = oneByOne(run[Symbol.asyncIterator]());
        return batches;
      },
      /** Nothing is sent before the stream is read. */
      stream: (events: Batches, chunks: UiChunks) => pulled(chunksOf(events, chunks, ended), leave),
      ended,
    };
  }

  return {
    resumeStreamIsReplay: true,

    async sendMessages({ messages, ...request }) {
      const { tools, variables: ofRequest = variables } = (request.body ?? {}) as {
        readonly tools?: unknown;
        readonly variables?: StreamRequest['variables'];
      };
      refuseTools(tools, config);
      const { begin, stream, ended } = reader(request);
      try {
        const continued = await goOn(service, messages, (generationId) =>
          begin((signal) => client.follow({ generationId }, signal)),
        );
        if (continued) return stream(continued.batches, new UiChunks({}, continued));
        const last = messages.at(-1);
        const messageId = last?.role === 'assistant' ? last.id : undefined;
        const asked = { config, variables: ofRequest, messages: messagesOf(messages), thread: request.chatId };
        return stream(
          begin((signal) => client.stream(asked, signal)),
          new UiChunks({ messageId }),
        );
      } catch (error) {
        ended(true);
        throw forChat(error);
      }
    },

    async reconnectToStream(request) {
      const { chatId: thread } = request;
      const [newest] = await refusing(procedures.generations.query({ thread, limit: 1 }));
      const { generationId, state } = newest ?? {};
      if (generationId === undefined || (state !== 'running' && broken.get(thread) !== generationId)) return null;
      const { begin, stream } = reader(request);
      return stream(
        begin((signal) => client.follow({ generationId }, signal)),
        new UiChunks(),
      );
    },

    stop: (chatId) => (reading.get(chatId) ?? client.follow({ thread: chatId })).cancel(),
  };
}

/** The options for whatever configs. */
type AnyOptions = Pick<StreamRequest, 'config' | 'variables'> & { readonly onAbort?: 'leave' | 'cancel' };

/** A client of whatever configs. */
interface AnyClient {
  readonly trpc: { readonly llm: Procedures };
  stream(request: StreamRequest, options: { readonly signal: AbortSignal }): Run;
  follow(request: FollowRequest, options?: { readonly signal: AbortSignal }): Run;
  resolve: LlmClient<AnyAppRouter>['resolve'];
}

/** The chunks of a run, to its terminal event or to the moment when its generation waits for the client. */
async function* chunksOf(
  batches: Batches,
  chunks: UiChunks,
  ended: (whole: boolean) => void,
): AsyncGenerator<UIMessageChunk> {
  const carried = carry(batches, chunks, soon);
  let end: CarriedTo;
  try {
    for (let next = await carried.next(); ; next = await carried.next()) {
      if (next.done) {
        end = next.value;
        break;
      }
      // In place of the chunk, which is a text, the stream is errored below with an object that has a code.
      yield* next.value.filter(({ type }) => type !== 'error');
    }
    if (typeof end === 'object' && end.type === 'error') throw LlmClientError.fromEvent(end);
  } catch (thrown) {
    // Stopped before its first event: there is no message, and nothing failed.
    if (thrown instanceof LlmClientError && thrown.code === 'cancelled') return;
    throw forChat(thrown);
  } finally {
    ended(end !== undefined);
  }
}

/** Whether a promise settles within `settleMs`. */
function soon(promise: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), settleMs);
    const settled = () => {
      clearTimeout(timer);
      resolve(true);
    };
    promise.then(settled, settled);
  });
}

/**
 * A stream that asks for a chunk when it is read. With a buffer of its own, an error would throw away the chunks that wait there, and
 * the account is among the last ones.
 */
function pulled(chunks: AsyncGenerator<UIMessageChunk>, cancel: () => void): ReadableStream<UIMessageChunk> {
  return new ReadableStream<UIMessageChunk>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel,
    },
    { highWaterMark: 0 },
  );
}

/** What `useChat` is to see of an error. It resumes by itself after a TypeError with the word `network` in it, as browsers throw one. */
function forChat(cause: unknown): unknown {
  if (!(cause instanceof LlmClientError) || cause.code !== 'unreachable') return cause;
  const { code, retryable, retryAfterMs } = cause;
  return Object.assign(new TypeError(`network: ${cause.message}`, { cause }), { code, retryable, retryAfterMs });
}

/** The result of a query, or what the service refuses it with. */
async function refusing<T>(query: Promise<T>): Promise<T> {
  try {
    return await query;
  } catch (thrown) {
    throw forChat(LlmClientError.from(thrown));
  }
}

function messagesOf(messages: readonly UIMessageLike[]): StreamRequest['messages'] {
  try {
    return toMessages(messages);
  } catch (error) {
    if (!(error instanceof UnsupportedMessageError)) throw error;
    throw new LlmClientError('invalid_input', error.message, { issues: error.issues, cause: error });
  }
}

/** A tool of a request that nobody sends on would look like a model that won't call it. */
function refuseTools(tools: unknown, config: string): void {
  if (typeof tools !== 'object' || tools === null) return;
  const names = Array.isArray(tools) ? tools.map((tool: { name?: unknown }) => String(tool?.name)) : Object.keys(tools);
  if (names.length === 0) return;
  const message = `${names.join(', ')}: a request brings no tools; declare them in the config ${config}`;
  const issues = names.map((name) => ({ path: `tools.${name}`, message: `declare it in the config ${config}` }));
  throw new LlmClientError('invalid_input', message, { issues });
}
