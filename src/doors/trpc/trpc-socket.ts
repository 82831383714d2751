/**
 * tRPC's conversation over one WebSocket: queries, mutations and subscriptions on the wire that `wsLink` speaks, by tRPC's
 * public functions. tRPC's own handler never looks whether a socket is full, lets one open subscriptions without end, and
 * spends a race of promises and three objects on each event (docs/decisions/own-websocket-handler.md).
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { transformTRPCResponse, TRPCError, type AnyTRPCRouter } from '@trpc/server';
import { parseTRPCMessage, type TRPCClientOutgoingMessage, type TRPCResponseMessage } from '@trpc/server/rpc';
import type { WebSocket } from 'ws';
import { ResponseRoom } from '../../access/response-room.ts';
import { LlmError } from '../../errors.ts';
import type { EventBatches } from './event-batches.ts';
import type { HeldBytes } from '../../access/held-bytes.ts';
import { checkJsonBounds } from '../json-body.ts';
import type { JsonBounds } from '../../json/json-bounds.ts';
import { leaveTogether, untilRoom, type FlowLimits } from '../flow-control.ts';
import { asTrpcError, wrapJson, type LlmContext, type RequestNote } from './router.ts';
import { onceForBatch } from '../../stream-log/stream-log.ts';
import type { Telemetry } from '../../telemetry/telemetry.ts';
import type { Intake } from './intake.ts';
import type { Liveness } from '../liveness.ts';
import { callProcedure, errorOnWire, logRefusal, type ProcedureCall } from './procedure-call.ts';
import { encodeTextFrame, type TextFrame } from './text-frame.ts';

export interface TrpcSocketOptions {
  readonly router: AnyTRPCRouter;
  readonly flow: FlowLimits;
  readonly subscriptionsPerSocketMax: number;
  /** Asked for each subscription. */
  readonly liveness: () => Liveness;
  /** How long a client that announced connection params may take to send them. */
  readonly connectionParamsMs: number;
  /** Where answers find room until they have left. */
  readonly held: HeldBytes;
  readonly answerBytesMax: number;
  /** What the JSON of one message may hold. */
  readonly json: JsonBounds;
  readonly telemetry: Telemetry;
}

const ping = Buffer.from('PING');
const pong = Buffer.from('PONG');
/** Has the client open another socket, and ask there for all of its subscriptions, each from its last event on. */
const reconnectMessage = JSON.stringify({ id: null, method: 'reconnect' });
/** Calls that a client may send as one message; each is answered by itself. */
const messagesPerFrameMax = 100;
/** An id is repeated in every frame of its answer. tRPC's clients count from 1. */
const idCharsMax = 64;
/** A refusal repeats the path of what was called. */
const pathCharsMax = 200;

type Id = TRPCClientOutgoingMessage['id'];
type Context = LlmContext & { readonly note: RequestNote };
type CallMessage = Extract<TRPCClientOutgoingMessage, { params: unknown }>;

export type ConnectionParams = Readonly<Record<string, string>> | null;

/** A WebSocket that has just opened. */
export interface OpenedSocket {
  readonly webSocket: WebSocket;
  readonly request: IncomingMessage;
  readonly intake: Intake;
  /** Called with the connection params, which may hold a key. */
  readonly prove: (params: ConnectionParams) => void;
}

/** Serves a WebSocket until it closes. Never throws. */
export function serveSocket(socket: OpenedSocket, options: TrpcSocketOptions): void {
  new TrpcSocket(socket, options).listen();
}

/** Clients number their subscriptions alike, so those that watch one generation are often sent the same bytes. */
const framesOf = onceForBatch((batch, subscription): TextFrame[] =>
  batch.map(({ id, json }) => {
    const data = wrapJson(`{"id":"${id}","data":${json}}`);
    return encodeTextFrame(`{"id":${subscription},"result":{"type":"data","id":"${id}","data":${data}}}`);
  }),
);

class TrpcSocket {
  readonly #webSocket: WebSocket;
  readonly #request: IncomingMessage;
  readonly #intake: Intake;
  readonly #prove: OpenedSocket['prove'];
  readonly #options: TrpcSocketOptions;
  readonly #closed = new AbortController();
  /** Those that are open, by the ids that the client gave them. */
  readonly #subscriptions = new Map<Id, AbortController>();
  /** Undefined until the client has sent what it announced. */
  #connectionParams: ConnectionParams | undefined;

  constructor({ webSocket, request, intake, prove }: OpenedSocket, options: TrpcSocketOptions) {
    this.#webSocket = webSocket;
    this.#request = request;
    this.#intake = intake;
    this.#prove = prove;
    this.#options = options;
  }

  listen(): void {
    const webSocket = this.#webSocket;
    const announced = new URL(this.#request.url ?? '', 'http://localhost').searchParams.get('connectionParams') === '1';
    if (!announced) this.#connectionParams = null;
    const patience = setTimeout(() => {
      if (this.#connectionParams === undefined) webSocket.close(1008, 'no connection params');
    }, this.#options.connectionParamsMs);
    // Frames that are no WebSocket, messages over the limit: ws closes the socket by itself.
    webSocket.on('error', () => {});
    webSocket.on('close', () => {
      clearTimeout(patience);
      this.#closed.abort('the client has left');
      for (const subscription of this.#subscriptions.values()) subscription.abort('the client has left');
    });
    webSocket.on('message', (data, isBinary) => {
      const bytes = isBinary || !Buffer.isBuffer(data) ? undefined : data;
      if (bytes?.equals(pong)) return;
      this.#intake.take(() => (bytes?.equals(ping) ? this.#send('PONG') : this.#take(bytes)));
    });
    webSocket.on('ping', (data) => {
      this.#intake.take(() => webSocket.pong(data, false, this.#intake.answering(data.length)));
    });
  }

  #take(bytes: Buffer | undefined): void {
    let messages: unknown[];
    try {
      if (bytes === undefined) throw malformed();
      checkJsonBounds(bytes, this.#options.json);
      const parsed = parseText(bytes);
      if (this.#connectionParams === undefined) {
        this.#connectionParams = parseConnectionParams(parsed);
        this.#prove(this.#connectionParams);
        return;
      }
      messages = Array.isArray(parsed) ? parsed : [parsed];
      if (messages.length > messagesPerFrameMax) {
        throw asTrpcError(new LlmError('too_large', `At most ${messagesPerFrameMax} calls in one message`));
      }
    } catch (error) {
      return this.#refuse(null, error instanceof LlmError ? asTrpcError(error) : error);
    }
    this.#intake.takeParts(messages.map((message) => () => this.#dispatch(message)));
  }

  #dispatch(message: unknown): void {
    let call: TRPCClientOutgoingMessage;
    try {
      call = parseTRPCMessage(message, this.#options.router._def._config.transformer);
      const path = 'params' in call ? call.params.path : '';
      if (String(call.id).length > idCharsMax || path.length > pathCharsMax) throw malformed();
    } catch {
      return this.#refuse(idOf(message), malformed());
    }
    if (call.method === 'subscription.stop') this.#subscriptions.get(call.id)?.abort('the client has left');
    else if (call.method === 'subscription') void this.#subscribe(call);
    else void this.#respond(call);
  }

  async #respond(message: CallMessage): Promise<void> {
    const room = new ResponseRoom(this.#options.held, this.#options.answerBytesMax);
    const context = this.#context(room);
    // The answer to a query may be long; a mutation's is short, and may take its time.
    const answered = this.#intake.begin(message.method === 'query');
    try {
      const data = await this.#call(message, context, this.#closed.signal);
      this.#answer({ id: message.id, result: { type: 'data', data } }, room);
    } catch (error) {
      room[Symbol.dispose]();
      this.#refuse(message.id, error, callOf(message), context);
    } finally {
      answered();
    }
  }

  async #subscribe(message: CallMessage): Promise<void> {
    const { id } = message;
    const left = new AbortController();
    const context = this.#context();
    let events: EventBatches | undefined;
    const begun = this.#intake.begin();
    try {
      this.#admit(id);
      this.#subscriptions.set(id, left);
      // An unknown path is told by the call; every subscription of this router returns its batches.
      events = (await this.#call(message, context, left.signal)) as EventBatches;
      // With it goes `start`, as a rule; and with the end of an answer that of its subscription.
      leaveTogether(this.#request.socket);
      const { silenceMs } = this.#options.liveness();
      // As the SSE door says it in `connected`; clients that don't know it leave it.
      this.#send(JSON.stringify({ id, result: { type: 'started', reconnectAfterInactivityMs: silenceMs } }));
      const subscription = JSON.stringify(id);
      // By then it has been refused or has attached; after that it may be quiet for as long as it likes.
      setImmediate(begun);
      await events.view.pipe((batch) => {
        if (batch.at(-1)?.terminal) leaveTogether(this.#request.socket);
        for (const frame of framesOf(batch, subscription)) this.#write(frame);
        return this.#ready(left.signal);
      });
      if (events.view.moved) this.#send(reconnectMessage);
      else this.#answer({ id, result: { type: 'stopped' } });
    } catch (error) {
      this.#refuse(id, events ? events.refusal(error) : error, callOf(message), context);
    } finally {
      begun();
      if (this.#subscriptions.get(id) === left) this.#subscriptions.delete(id);
    }
  }

  #admit(id: Id): void {
    if (this.#subscriptions.has(id)) {
      throw new TRPCError({ code: 'BAD_REQUEST', message: 'A subscription of this id is open' });
    }
    const max = this.#options.subscriptionsPerSocketMax;
    if (this.#subscriptions.size < max) return;
    throw asTrpcError(new LlmError('rate_limited', `At most ${max} subscriptions on one socket`));
  }

  #call(message: CallMessage, context: Context, signal: AbortSignal): Promise<unknown> {
    return callProcedure(this.#options.router, callOf(message), context, signal);
  }

  /** For each call: its note has an id of its own. */
  #context(room?: ResponseRoom): Context {
    const info = { connectionParams: this.#connectionParams };
    const note: RequestNote = { door: 'websocket', requestId: randomUUID(), ...(room ? { room } : {}) };
    return { req: this.#request, res: this.#webSocket, info, note };
  }

  #ready(signal: AbortSignal): Promise<void> | undefined {
    return untilRoom(this.#request.socket, signal, this.#options.flow);
  }

  #answer(message: TRPCResponseMessage, room?: Disposable): void {
    this.#send(JSON.stringify(transformTRPCResponse(this.#options.router._def._config, message)), room);
  }

  #refuse(id: Id, cause: unknown, call: Partial<ProcedureCall> = {}, context = this.#context()): void {
    if (this.#webSocket.readyState === this.#webSocket.OPEN) {
      logRefusal(this.#options.telemetry, cause, context.note);
    }
    const error = errorOnWire(this.#options.router, cause, call, context);
    this.#send(JSON.stringify({ id, error }));
  }

  /** What isn't an event: an answer, for which room was needed. */
  #send(text: string, room?: Disposable): void {
    const frame = encodeTextFrame(text);
    const left = this.#intake.answering(frame.length);
    this.#write(frame, () => {
      left();
      room?.[Symbol.dispose]();
    });
  }

  #write(frame: TextFrame, left?: () => void): void {
    // A closed socket drops what it is given, with an error that its close has told already.
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return left?.();
    this.#request.socket.write(frame, 'latin1', left);
  }
}

function callOf({ method, params }: CallMessage): ProcedureCall {
  return { type: method, ...params };
}

/** @throws TRPCError PARSE_ERROR */
function parseText(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw malformed();
  }
}

function malformed(): TRPCError {
  return new TRPCError({ code: 'PARSE_ERROR', message: 'Expected a message as tRPC writes it' });
}

/** @throws Error if it isn't `{method: 'connectionParams', data}`. */
function parseConnectionParams(message: unknown): Record<string, string> | null {
  const { method, data } = (message ?? {}) as { method?: unknown; data?: unknown };
  if (method !== 'connectionParams') throw new Error('expected connection params');
  if (data === null || data === undefined) return null;
  if (typeof data !== 'object') throw new Error('connection params are an object');
  const texts = Object.entries(data).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return Object.fromEntries(texts);
}

/** Null for an id that is too long to be repeated. */
function idOf(message: unknown): Id {
  const { id } = (message ?? {}) as { id?: unknown };
  return (typeof id === 'number' || typeof id === 'string') && String(id).length <= idCharsMax ? id : null;
}
