/**
 * The conversation on one WebSocket: queries, mutations and subscriptions on the wire that `wsLink` speaks, by tRPC's public functions.
 * tRPC's own handler never looks whether a socket is full, lets a socket open any number of subscriptions, and spends a race of
 * promises and three objects on each event (docs/decisions/own-websocket-handler.md).
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
import type { LlmContext, RequestNote } from './context.ts';
import { onceForBatch } from '../../stream-log/stream-log.ts';
import type { Telemetry } from '../../telemetry/telemetry.ts';
import type { RequestTrace } from '../../telemetry/traces.ts';
import type { Intake } from './intake.ts';
import type { Liveness } from '../liveness.ts';
import { callProcedure, type ProcedureCall } from './procedure-call.ts';
import { encodeTextFrame, type TextFrame } from './text-frame.ts';
import { wrapJson } from './wire.ts';
import { errorOnWire, logRefusal } from './wire-errors.ts';

export interface TrpcSocketOptions {
  readonly router: AnyTRPCRouter;
  readonly flow: FlowLimits;
  readonly subscriptionsPerSocketMax: number;
  /** Called for each subscription, since the configs may have changed. */
  readonly liveness: () => Liveness;
  /** How long, in milliseconds, a client that announced connection params may take to send them. */
  readonly connectionParamsMs: number;
  /** The account that counts replies until they have left the socket. */
  readonly held: HeldBytes;
  /** Bytes of one reply. */
  readonly answerBytesMax: number;
  /** What the JSON of one message may hold. */
  readonly json: JsonBounds;
  readonly telemetry: Telemetry;
}

const ping = Buffer.from('PING');
const pong = Buffer.from('PONG');
/** Asks the client to open another socket, and to resume all of its subscriptions there. */
const reconnectMessage = JSON.stringify({ id: null, method: 'reconnect' });
/** Calls that a client may send in one message. Each call has a reply of its own. */
const messagesPerFrameMax = 100;
/** The id of a call may have this many characters: every frame of its reply repeats it. tRPC's clients count from 1. */
const idCharsMax = 64;
/** The path of a call may have this many characters: a refusal repeats it. */
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
  /** Called once with the connection params, which may hold a key. */
  readonly prove: (params: ConnectionParams) => void;
}

/**
 * Serves a WebSocket until it closes. Never throws.
 *
 * @returns A function that asks the client to open another socket, as soon as nothing runs on this one.
 */
export function serveSocket(socket: OpenedSocket, options: TrpcSocketOptions): () => void {
  const served = new TrpcSocket(socket, options);
  served.listen();
  return () => served.retire();
}

/**
 * The frames of a batch, for a subscription's id as JSON. Clients count their subscriptions from 1, so the viewers of one generation are
 * often sent the same frames, and `onceForBatch` makes them once.
 */
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
  /** What stops each open subscription, by the id that its client gave it. */
  readonly #subscriptions = new Map<Id, AbortController>();
  /** Undefined while the client has announced connection params and not sent them; null where it announced none. */
  #connectionParams: ConnectionParams | undefined;
  /** Queries and mutations that run. */
  #calls = 0;
  #retiring = false;
  /** Whether the client was asked to open another socket. It sends there once more whatever it has no answer to. */
  #left = false;

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
    // An invalid frame, or a message over the limit. `ws` closes the socket by itself.
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
      this.#intake.take(() => webSocket.pong(data, false, this.#intake.replying(data.length)));
    });
  }

  /** Asks the client to open another socket, as soon as nothing runs on this one. */
  retire(): void {
    this.#retiring = true;
    this.#leaveIfIdle();
  }

  #leaveIfIdle(): void {
    if (!this.#retiring || this.#left || this.#subscriptions.size + this.#calls > 0) return;
    this.#left = true;
    this.#send(reconnectMessage);
  }

  #take(bytes: Buffer | undefined): void {
    if (this.#left) return;
    let messages: unknown[];
    try {
      if (bytes === undefined) throw malformed();
      checkJsonBounds(bytes, this.#options.json);
      const parsed = parseText(bytes);
      if (this.#connectionParams === undefined) {
        this.#connectionParams = connectionParamsIn(parsed);
        this.#prove(this.#connectionParams);
        return;
      }
      messages = Array.isArray(parsed) ? parsed : [parsed];
      if (messages.length > messagesPerFrameMax) {
        throw new LlmError('too_large', `At most ${messagesPerFrameMax} calls in one message`);
      }
    } catch (error) {
      return this.#refuse(null, error);
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
    const context = this.#context(message, room);
    // The reply to a query may be long, so other calls wait. The reply to a mutation is short, and the mutation may take a while.
    const answered = this.#intake.begin(message.method === 'query');
    this.#calls += 1;
    try {
      const data = await this.#call(message, context, this.#closed.signal);
      this.#reply({ id: message.id, result: { type: 'data', data } }, room);
    } catch (error) {
      room[Symbol.dispose]();
      this.#refuse(message.id, error, callOf(message), context);
    } finally {
      context.note.trace?.end();
      answered();
      this.#calls -= 1;
      this.#leaveIfIdle();
    }
  }

  async #subscribe(message: CallMessage): Promise<void> {
    const { id } = message;
    const left = new AbortController();
    const context = this.#context(message);
    let events: EventBatches | undefined;
    const begun = this.#intake.begin();
    try {
      this.#admit(id);
      this.#subscriptions.set(id, left);
      // The call throws for an unknown path. Every subscription of this router returns its batches.
      events = (await this.#call(message, context, left.signal)) as EventBatches;
      // Everything that is written in this turn leaves in one piece: as a rule, that the subscription has started, and `start`.
      leaveTogether(this.#request.socket);
      const { silenceMs } = this.#options.liveness();
      // The SSE door sends the same number in `connected`. Clients that don't know it ignore it.
      this.#send(JSON.stringify({ id, result: { type: 'started', reconnectAfterInactivityMs: silenceMs } }));
      const subscription = JSON.stringify(id);
      // After this turn the subscription has been refused or has attached. From then on it doesn't count as a call in progress.
      setImmediate(begun);
      await events.view.pipe((batch) => {
        // The terminal event and the end of the subscription leave in one piece, too.
        if (batch.at(-1)?.terminal) leaveTogether(this.#request.socket);
        for (const frame of framesOf(batch, subscription)) this.#write(frame);
        return this.#ready(left.signal);
      });
      if (events.view.moved) this.#send(reconnectMessage);
      else this.#reply({ id, result: { type: 'stopped' } });
    } catch (error) {
      this.#refuse(id, events ? events.refusal(error) : error, callOf(message), context);
    } finally {
      context.note.trace?.end();
      begun();
      if (this.#subscriptions.get(id) === left) this.#subscriptions.delete(id);
      this.#leaveIfIdle();
    }
  }

  #admit(id: Id): void {
    if (this.#subscriptions.has(id)) {
      throw new TRPCError({ code: 'BAD_REQUEST', message: 'A subscription of this id is open' });
    }
    const max = this.#options.subscriptionsPerSocketMax;
    if (this.#subscriptions.size < max) return;
    throw new LlmError('rate_limited', `At most ${max} subscriptions on one socket`);
  }

  #call(message: CallMessage, context: Context, signal: AbortSignal): Promise<unknown> {
    return callProcedure(this.#options.router, callOf(message), context, signal);
  }

  /** A context for one call: its note has a request id of its own. */
  #context(message?: CallMessage, room?: ResponseRoom): Context {
    const info = { connectionParams: this.#connectionParams };
    const requestId = randomUUID();
    const trace = this.#trace(requestId, message);
    const note: RequestNote = { door: 'websocket', requestId, ...(room ? { room } : {}), ...(trace ? { trace } : {}) };
    return { req: this.#request, res: this.#webSocket, info, note };
  }

  /** The span of one call. A socket carries many calls, so the call's own traceparent outranks that of the socket. */
  #trace(requestId: string, message: CallMessage | undefined): RequestTrace | undefined {
    const { telemetry, router } = this.#options;
    if (!telemetry.traces || !message) return undefined;
    const { path } = message.params;
    const name = path in router._def.procedures ? path : 'unknown';
    return telemetry.traces.request({
      name,
      requestId,
      attributes: { 'rpc.system': 'trpc', 'rpc.method': name, 'network.protocol.name': 'websocket' },
      carrier: this.#connectionParams?.['traceparent'] ? this.#connectionParams : this.#request.headers,
      shared: true,
    });
  }

  #ready(signal: AbortSignal): Promise<void> | undefined {
    return untilRoom(this.#request.socket, signal, this.#options.flow);
  }

  #reply(message: TRPCResponseMessage, room?: Disposable): void {
    this.#send(JSON.stringify(transformTRPCResponse(this.#options.router._def._config, message)), room);
  }

  #refuse(id: Id, cause: unknown, call: Partial<ProcedureCall> = {}, context = this.#context()): void {
    if (this.#webSocket.readyState === this.#webSocket.OPEN) {
      logRefusal(this.#options.telemetry, cause, context.note);
    }
    const error = errorOnWire(this.#options.router, cause, call, context);
    this.#send(JSON.stringify({ id, error }));
  }

  /** Sends a frame that is no event: a reply, which the intake counts until it has left. */
  #send(text: string, room?: Disposable): void {
    const frame = encodeTextFrame(text);
    const left = this.#intake.replying(frame.length);
    this.#write(frame, () => {
      left();
      room?.[Symbol.dispose]();
    });
  }

  #write(frame: TextFrame, left?: () => void): void {
    // A write to a closed socket would emit an error, after 'close' has said the same.
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

/** @throws LlmError `invalid_input` if it isn't `{method: 'connectionParams', data}`. */
function connectionParamsIn(message: unknown): Record<string, string> | null {
  const { method, data } = (message ?? {}) as { method?: unknown; data?: unknown };
  const issue = (path: string, expected: string) => LlmError.invalidInput([{ path, message: `expected ${expected}` }]);
  if (method !== 'connectionParams') throw issue('method', '"connectionParams", since the URL announces them');
  if (data === null || data === undefined) return null;
  if (typeof data !== 'object') throw issue('data', 'an object, or null');
  const texts = Object.entries(data).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return Object.fromEntries(texts);
}

/** The id of a message that is no call; null if it has none, or one that is too long to be repeated. */
function idOf(message: unknown): Id {
  const { id } = (message ?? {}) as { id?: unknown };
  return (typeof id === 'number' || typeof id === 'string') && String(id).length <= idCharsMax ? id : null;
}
