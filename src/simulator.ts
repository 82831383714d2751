/**
 * The simulator: the Messages API over real HTTP on loopback, for trying the service without a key and for tests.
 * Stands behind any client of that API and knows nothing of this service. The same seed and the same order of requests
 * give the same answers, ids and pacing; after disposal no socket and no timer is left.
 *
 * Validation comes first, then an answer that was enqueued, then `respondWith`, then the fault it was started with, then
 * what the last user message asks for by `/sim …`, and failing all that a search of the project's documents.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { playReply, type Reply } from './simulator/reply.ts';
import { commandReply, thinkingBlock } from './simulator/commands.ts';
import { createDocsAnswerer, type Doc } from './simulator/docs-search.ts';
import { Exchange } from './simulator/exchange.ts';
import type { FaultName } from './simulator/faults.ts';
import { Pace, type Pacing, type TokensPerSecond } from './simulator/pace.ts';
import { createRandom, type Random } from './simulator/random.ts';
import { receiveBody } from './simulator/receive.ts';
import { RequestLog } from './simulator/request-log.ts';
import type { SimulatorRequest } from './simulator/simulator-request.ts';
import type { ScriptedBlock } from './simulator/streaming.ts';
import { PromptCache } from './simulator/tokens.ts';
import { findRefusal, type MessagesBody } from './simulator/validation.ts';
import { Wire } from './simulator/wire.ts';

export type { Reply, ManualReply, RawReply, TextReply } from './simulator/reply.ts';
export type { Doc } from './simulator/docs-search.ts';
export type { Block, Delta, MessageEnd, SimulatorRequest } from './simulator/simulator-request.ts';
export { faults, isFaultName } from './simulator/faults.ts';
export type { FaultReply, FaultName } from './simulator/faults.ts';
export type { TokensPerSecond } from './simulator/pace.ts';
export type { BlocksReply, Deltas, ScriptedBlock } from './simulator/streaming.ts';
export { countTokens } from './simulator/tokens.ts';
export type { ApiError, MessagesBody } from './simulator/validation.ts';
export type { Outcome } from './simulator/wire.ts';

export interface SimulatorOptions {
  /** On 127.0.0.1. Absent or 0: any that is free. */
  readonly port?: number;
  /** 1 if absent. */
  readonly seed?: number;
  /** Output tokens a second, each delta with jitter, 60 if absent; or `unpaced`: as fast as the socket takes them. */
  readonly tokensPerSecond?: TokensPerSecond;
  /** From `message_start` to the first content block. 0 if absent. */
  readonly firstTokenMs?: number;
  /** Where unpaced: each delta as a write of its own, rather than many at a time. */
  readonly onePerWrite?: boolean;
  /** If set, a request must carry it as `Authorization: Bearer` or `x-api-key`; otherwise any or none is taken. */
  readonly apiKey?: string;
  /** Applied to each request for which no answer was scripted. */
  readonly fault?: FaultName;
  /** What ordinary questions are answered from. Absent: this package's README.md, ARCHITECTURE.md and PROTOCOL.md. */
  readonly docs?: readonly Doc[];
}

export interface Simulator extends AsyncDisposable {
  /** The base URL for clients, without a path. */
  readonly url: string;
  readonly port: number;
  /** The last 10,000 requests in order of arrival, refused ones too; fewer if their bodies come to over 64 MiB. */
  readonly requests: readonly SimulatorRequest[];
  /** All requests so far. */
  readonly requestCount: number;
  readonly openSockets: number;

  /**
   * The first request that this method has not given out yet, once it is there. Rejects with the signal's reason, and
   * when the simulator is disposed.
   */
  nextRequest(signal?: AbortSignal): Promise<SimulatorRequest>;

  /** Scripts the answers of coming requests, in order, each used once. A request that is refused uses none. */
  enqueue(...replies: Reply[]): void;

  /** Answers every request for which nothing is enqueued; undefined goes back to the default behaviour. */
  respondWith(reply: Reply | ((request: SimulatorRequest) => Reply) | undefined): void;

  /** Stops listening and cuts every connection; settles when all are closed. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a simulator; the caller disposes it.
 *
 * @throws RangeError for options that make no sense, and the system's error if the port is taken.
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = new HttpSimulator(options);
  await simulator.listen(options.port ?? 0);
  return simulator;
}

/** Longer than any client's, so that it is never the simulator that closes a connection in the moment of its reuse. */
const keepAliveTimeoutMs = 120_000;

class HttpSimulator implements Simulator {
  port = 0;
  readonly #options: SimulatorOptions;
  readonly #pacing: Pacing;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #log = new RequestLog();
  readonly #promptCache = new PromptCache();
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
    });
    this.#log.add(exchange, received.bodyBytes);
    const refusal = findRefusal({ ...received, method, path, headers }, this.#options.apiKey);
    if (refusal !== undefined) return exchange.refuse(refusal);
    try {
      const reply =
        this.#queue.shift() ?? this.#responder?.(exchange) ?? (await this.#defaultReply(exchange.body, random));
      await playReply({ exchange, random, pace: new Pace(this.#pacing, random) }, reply);
    } catch (thrown) {
      // A script that throws, in `respondWith` or in the iterable of an answer: told where the test will see it.
      if (wire.headSent) exchange.destroy();
      else
        exchange.refuse({ status: 500, type: 'api_error', message: `The simulator's script threw: ${String(thrown)}` });
    }
  }

  async #defaultReply(body: MessagesBody, random: Random): Promise<Reply> {
    const message = lastUserText(body);
    const { fault } = this.#options;
    if (fault !== undefined) return { kind: 'fault', fault, text: await this.#answerFromDocs(message) };
    const asked = commandReply(message, body, random);
    if (asked !== undefined) return asked;
    const text = { type: 'text', text: await this.#answerFromDocs(message) };
    return { kind: 'blocks', blocks: [...thinkingOf(body, random), text] };
  }
}

function lastUserText({ messages }: MessagesBody): string {
  const content = messages.findLast(({ role }) => role === 'user')!.content;
  if (typeof content === 'string') return content;
  return content.flatMap((block) => (block.type === 'text' ? [block['text'] as string] : [])).join('\n');
}

/** The thinking that a request asks for; with its display omitted, a block that has a signature alone. */
function thinkingOf({ thinking }: MessagesBody, random: Random): ScriptedBlock[] {
  if (thinking === undefined || thinking.type === 'disabled') return [];
  const omitted = thinking.display === 'omitted';
  return [thinkingBlock(omitted ? '' : 'The user asks something. I will search the documents for it.', random)];
}
