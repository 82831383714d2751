/**
 * The simulator: the Messages API over real HTTP on loopback, for trying the service without a key and for tests. It
 * serves any client of that API and knows nothing of this service. The same seed and the same order of requests give
 * the same replies, ids and pacing. After disposal no socket and no timer is left.
 *
 * For each request the first of these decides: validation, which may refuse it; an enqueued reply; `respondWith`; the
 * fault that the simulator was started with; a pause that the request goes on from; a `/sim …` command as the question;
 * the results of tools; a tool that fits the question; a search of the project's documents.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { askedIn, type Asked } from './simulator/asked.ts';
import { commandReply, thinkingBlock } from './simulator/commands.ts';
import { createDocsAnswerer, type Doc } from './simulator/docs-search.ts';
import { Exchange } from './simulator/exchange.ts';
import type { FaultName } from './simulator/fault-table.ts';
import { Pace, type Pacing, type TokensPerSecond } from './simulator/pace.ts';
import { outputText } from './simulator/output.ts';
import { createRandom, type Random } from './simulator/random.ts';
import { PastTurns } from './simulator/past-turns.ts';
import { receiveBody } from './simulator/receive.ts';
import { playReply, type Reply } from './simulator/reply.ts';
import { RequestLog } from './simulator/request-log.ts';
import type { SimulatorRequest } from './simulator/simulator-request.ts';
import type { ScriptedBlock } from './simulator/streaming.ts';
import { PromptCache } from './simulator/tokens.ts';
import { callsFor, isForced } from './simulator/tool-calls.ts';
import { answerFromResults, continuationOf } from './simulator/tool-results.ts';
import { findRefusal, invalid, type ApiError, type MessagesBody } from './simulator/validation.ts';
import { Wire } from './simulator/wire.ts';

export type { ManualReply, RawReply, Reply, TextReply } from './simulator/reply.ts';
export type { Doc } from './simulator/docs-search.ts';
export type { Block, Delta, MessageEnd, SimulatorRequest } from './simulator/simulator-request.ts';
export { faults, isFaultName } from './simulator/faults.ts';
export type { FaultName } from './simulator/fault-table.ts';
export type { PrefixPart } from './simulator/past-turns.ts';
export type { FaultDescription, FaultReply } from './simulator/faults.ts';
export type { TokensPerSecond } from './simulator/pace.ts';
export type { BlocksReply, Deltas, ScriptedBlock } from './simulator/streaming.ts';
export { countTokens } from './simulator/tokens.ts';
export type {
  ApiError,
  MessagesBody,
  RequestBlock,
  RequestMessage,
  RequestText,
  RequestThinking,
  RequestTool,
  RequestToolChoice,
} from './simulator/validation.ts';
export type { Outcome } from './simulator/wire.ts';

/** Each has a default. */
export interface SimulatorOptions {
  /** The port on 127.0.0.1. 0, the default, means any free one. */
  readonly port?: number;
  /** The seed of everything random: delta lengths, ids and jitter. 1 by default. */
  readonly seed?: number;
  /**
   * Output tokens per second, with jitter for each delta; 60 by default. `unpaced` sends as fast as the socket takes
   * them.
   */
  readonly tokensPerSecond?: TokensPerSecond;
  /** The time from `message_start` to the first content block, in milliseconds. 0 by default. */
  readonly firstTokenMs?: number;
  /**
   * For `unpaced`: whether each delta is written to the socket by itself. By default many deltas are written together.
   */
  readonly onePerWrite?: boolean;
  /**
   * The key that each request must carry, in `Authorization: Bearer` or `x-api-key`. By default any key or none is
   * accepted.
   */
  readonly apiKey?: string;
  /** The fault that is played for each request without a scripted reply. None by default. */
  readonly fault?: FaultName;
  /**
   * The documents that ordinary questions are answered from. By default this package's README.md, ARCHITECTURE.md and
   * PROTOCOL.md.
   */
  readonly docs?: readonly Doc[];
}

/** A simulator that listens. */
export interface Simulator extends AsyncDisposable {
  /** The base URL for clients, such as `http://127.0.0.1:4010`, without a path. */
  readonly url: string;
  /** The port that it listens on. */
  readonly port: number;
  /**
   * The last 10,000 requests in order of arrival, including refused ones. Older ones are dropped earlier where the
   * bodies take more than 64 MiB together.
   */
  readonly requests: readonly SimulatorRequest[];
  /** The number of all requests so far, including dropped ones. */
  readonly requestCount: number;
  /** The number of connections that are open now. */
  readonly openSockets: number;

  /**
   * Resolves to the first request that this method has not returned yet, as soon as it has arrived. Rejects with the
   * signal's reason when that aborts, and with an Error when the simulator is disposed.
   */
  nextRequest(signal?: AbortSignal): Promise<SimulatorRequest>;

  /** Scripts the replies to the next requests, in order. Each is used once. A request that is refused uses none. */
  enqueue(...replies: Reply[]): void;

  /**
   * Scripts the reply to every request for which none is enqueued. undefined restores the default behaviour. Where the
   * function throws, the request is refused with 500 and the error's text.
   */
  respondWith(reply: Reply | ((request: SimulatorRequest) => Reply) | undefined): void;

  /** Stops listening and cuts every connection. Settles when all are closed. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a simulator. The caller must dispose it.
 *
 * @throws RangeError where `tokensPerSecond` is not over 0 or `firstTokenMs` is under 0. The error of `listen` where
 *   the port is in use.
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = new HttpSimulator(options);
  await simulator.listen(options.port ?? 0);
  return simulator;
}

/**
 * How long the simulator keeps an idle connection: longer than the service keeps one, so that the service closes it first. No
 * request then meets a connection that is just being closed.
 */
const keepAliveTimeoutMs = 120_000;

class HttpSimulator implements Simulator {
  port = 0;
  readonly #options: SimulatorOptions;
  readonly #pacing: Pacing;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #log = new RequestLog();
  readonly #promptCache = new PromptCache();
  readonly #turns = new PastTurns();
  readonly #answerFromDocs: (question: string) => Promise<string>;
  readonly #queue: Reply[] = [];
  #responder: ((request: SimulatorRequest) => Reply) | undefined;
  #disposal: Promise<void> | undefined;

  constructor(options: SimulatorOptions) {
    const { tokensPerSecond = 60, firstTokenMs = 0, onePerWrite = false } = options;
    if (tokensPerSecond !== 'unpaced' && !(tokensPerSecond > 0)) throw new RangeError('tokensPerSecond must be over 0');
    if (!(firstTokenMs >= 0)) throw new RangeError('firstTokenMs must be at least 0');
    this.#options = options;
    this.#pacing = { tokensPerSecond, firstTokenMs, onePerWrite };
    this.#answerFromDocs = createDocsAnswerer(options.docs);
    this.#server = createServer({ keepAliveTimeout: keepAliveTimeoutMs }, (request, response) => {
      void this.#handle(request, response);
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', () => {
        this.#server.off('error', reject);
        this.port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }
  get requests(): readonly SimulatorRequest[] {
    return this.#log.requests;
  }
  get requestCount(): number {
    return this.#log.count;
  }
  get openSockets(): number {
    return this.#sockets.size;
  }

  nextRequest(signal?: AbortSignal): Promise<SimulatorRequest> {
    return this.#log.next(signal);
  }

  enqueue(...replies: Reply[]): void {
    this.#queue.push(...replies);
  }

  respondWith(reply: Reply | ((request: SimulatorRequest) => Reply) | undefined): void {
    this.#responder = typeof reply === 'object' ? () => reply : reply;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    this.#log.close();
    const closings: Promise<unknown>[] = [new Promise((resolve) => this.#server.close(resolve))];
    for (const request of this.#log.requests) request.destroy();
    for (const socket of this.#sockets) closings.push(once(socket.destroy(), 'close'));
    await Promise.all(closings);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const wire = new Wire(response);
    const received = await receiveBody(request);
    if (received === undefined) return;
    const method = request.method!;
    const path = request.url!.split('?', 1)[0]!;
    const { headers } = request;
    const random = createRandom(this.#options.seed ?? 1, this.#log.count);
    const exchange = new Exchange({
      method,
      path,
      headers,
      body: received.body,
      bodySha256: received.bodySha256,
      random,
      wire,
      countInput: (body) => this.#promptCache.usageOf(body),
      onAnswer: ({ id, body }, content) => this.#turns.remember(id, body, content),
    });
    this.#log.add(exchange, received.bodyBytes);
    const refusal =
      findRefusal({ ...received, method, path, headers }, this.#options.apiKey) ?? this.#findChange(exchange);
    if (refusal !== undefined) return exchange.refuse(refusal);
    try {
      const reply =
        this.#queue.shift() ?? this.#responder?.(exchange) ?? (await this.#defaultReply(exchange.body, random));
      await playReply({ exchange, random, pace: new Pace(this.#pacing, random) }, reply);
    } catch (thrown) {
      // The function of `respondWith`, or the iterable of a reply, has thrown. The test sees the error in the response.
      if (wire.headSent) exchange.destroy();
      else
        exchange.refuse({ status: 500, type: 'api_error', message: `The simulator's script threw: ${String(thrown)}` });
    }
  }

  /** Compares a valid request with the answer that it continues. The API refuses only thinking that was changed. */
  #findChange(exchange: Exchange): ApiError | undefined {
    const continuation = this.#turns.continuation(exchange.body);
    exchange.continues = continuation?.requestId;
    exchange.changedPrefix = continuation?.changed;
    return continuation?.thinkingChanged ? invalid(thinkingChanged) : undefined;
  }

  async #defaultReply(body: MessagesBody, random: Random): Promise<Reply> {
    const asked = askedIn(body);
    const { fault } = this.#options;
    if (fault !== undefined) return { kind: 'fault', fault, text: await this.#answerFromDocs(asked.question) };
    if (asked.paused.length > 0) return { kind: 'blocks', blocks: continuationOf(asked.paused) };
    const commanded = commandReply(asked, body, random);
    if (commanded !== undefined) return commanded;
    return {
      kind: 'blocks',
      blocks: [...thinkingOf(body, asked, random), ...(await this.#answer(asked, body, random))],
    };
  }

  async #answer({ question, results }: Asked, body: MessagesBody, random: Random): Promise<ScriptedBlock[]> {
    const calls = results.length === 0 || isForced(body) ? callsFor(body, question, random) : [];
    if (calls.length > 0) return calls;
    const text =
      outputText(body, question) ??
      (results.length > 0 ? answerFromResults(results) : await this.#answerFromDocs(question));
    return [{ type: 'text', text }];
  }
}

const thinkingChanged =
  '`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. These blocks must remain as they were in the original response.';

/** The thinking block that a request asks for. With `display: 'omitted'` it has only a signature. */
function thinkingOf({ thinking }: MessagesBody, { results }: Asked, random: Random): ScriptedBlock[] {
  if (thinking === undefined || thinking.type === 'disabled') return [];
  const thought = results.length > 0 ? 'The tools have answered.' : 'The user asks something. I will look it up.';
  return [thinkingBlock(thinking.display === 'omitted' ? '' : thought, random)];
}
