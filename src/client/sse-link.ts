/**
 * Subscriptions over SSE, by `fetch`. The input is sent in the body of a POST, since servers cut a URL at about 16 KB
 * and write it to access logs. One attempt is one request. It is complete only when the service sends `return`; it is
 * aborted only by this client; every other end is a lost connection, whatever error reports it. Another attempt is the
 * course's to begin (course.ts).
 *
 * tRPC's client sees the same as from its own `httpSubscriptionLink` (docs/decisions/own-sse-link.md).
 */
import { TRPCClientError, type Operation, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable, type Observer } from '@trpc/server/observable';
import type { EventSourceMessage } from 'eventsource-parser';
import { attemptOf, type AttemptContext } from './attempt-context.ts';
import type { Envelope } from './connection.ts';
import { LlmClientError } from './error.ts';
import { readEvents, type EventStream } from './event-stream.ts';
import type { LinkError } from './link-error.ts';
import type { Fetch } from './service-fetch.ts';
import { Silence } from './silence.ts';
import type { Transformer } from './transformer.ts';

export interface SseLinkOptions {
  /** The endpoint's URL. A query in it is sent with each request. */
  readonly url: string;
  readonly fetch: Fetch;
  readonly transformer: Transformer;
}

export function sseLink(options: SseLinkOptions): TRPCLink<AnyTRPCRouter> {
  return () =>
    ({ op }) =>
      observable((observer) => {
        const request = new SseRequest(op, observer, options);
        request.begin();
        return request.leave;
      });
}

/** What the service announces about a connection. A host's own server may announce nothing. */
interface Connected {
  /** The longest silence of a living connection. */
  readonly reconnectAfterInactivityMs?: number;
  /** For how long every generation goes on without a viewer, at least; null where none is ever cancelled. */
  readonly graceMs?: number | null;
}

class SseRequest {
  readonly #op: Operation;
  readonly #observer: Observer<Envelope, LinkError>;
  readonly #options: SseLinkOptions;
  readonly #attempt: AttemptContext;
  readonly #silence: Silence;
  readonly #abort = new AbortController();
  #stream: EventStream | undefined;
  #left = false;

  constructor(op: Operation, observer: Observer<Envelope, LinkError>, options: SseLinkOptions) {
    this.#op = op;
    this.#observer = observer;
    this.#options = options;
    this.#attempt = attemptOf(op);
    this.#silence = new Silence({
      onSilent: (ms) => this.#fail(new LlmClientError('unreachable', `Nothing came from the service for ${ms} ms`)),
    });
    this.#attempt.look = () => this.#silence.look();
  }

  begin(): void {
    const { signal } = this.#op;
    this.#observer.next({ result: { type: 'state', state: 'connecting', error: null } });
    signal?.addEventListener('abort', this.#complete);
    if (signal?.aborted) this.#complete();
    else this.#request().catch((error: unknown) => this.#fail(error));
  }

  /** Ends the request. The observer gets nothing more. */
  readonly leave = (): void => {
    this.#left = true;
    this.#silence.stop();
    this.#op.signal?.removeEventListener('abort', this.#complete);
    this.#abort.abort();
    // A `fetch` that the app passes may ignore the signal.
    this.#stream?.cancel();
  };

  readonly #complete = (): void => {
    if (this.#left) return;
    this.leave();
    this.#observer.next({ result: { type: 'stopped' } });
    this.#observer.next({ result: { type: 'state', state: 'idle', error: null } });
    this.#observer.complete();
  };

  #fail(thrown: unknown): void {
    if (this.#left) return;
    this.leave();
    this.#observer.error(TRPCClientError.from(thrown as Error));
  }

  /**
   * Sends the request and reads its stream. It always rejects, since `return` leaves the request before the stream
   * ends.
   */
  async #request(): Promise<never> {
    const { url, fetch } = this.#options;
    const [base, query] = url.split(/\?(.*)/s);
    const response = await fetch(`${base!.replace(/\/$/, '')}/${this.#op.path}${query ? `?${query}` : ''}`, {
      method: 'POST',
      headers: { accept: 'text/event-stream', 'content-type': 'application/json' },
      body: this.#attempt.body,
      signal: this.#abort.signal,
    });
    const stream = readEvents(response, {
      onBytes: () => this.#silence.heard(),
      onEvent: (message) => this.#take(message),
    });
    this.#stream = stream;
    if (this.#left) stream.cancel();
    await stream.done.catch((cause: unknown) => {
      throw new LlmClientError('unreachable', 'The connection to the service was lost', { cause });
    });
    throw new LlmClientError('unreachable', 'The connection ended before the answer did');
  }

  #take({ event, id, data }: EventSourceMessage): void {
    if (this.#left) return;
    switch (event) {
      case undefined: {
        const value = this.#deserialize(data);
        return this.#observer.next({ result: id ? { id, data: { id, data: value } } : { data: value } });
      }
      case 'connected':
        return this.#connected(JSON.parse(data) as Connected);
      case 'serialized-error':
        return this.#fail(TRPCClientError.from({ error: this.#deserialize(data) as never }));
      case 'return':
        return this.#complete();
    }
  }

  #connected({ reconnectAfterInactivityMs, graceMs }: Connected): void {
    this.#attempt.silenceMs = reconnectAfterInactivityMs;
    this.#attempt.graceMs = graceMs === null ? Infinity : graceMs;
    if (reconnectAfterInactivityMs) this.#silence.watch(reconnectAfterInactivityMs);
    this.#observer.next({ result: { type: 'started' } });
    this.#observer.next({ result: { type: 'state', state: 'pending', error: null } });
  }

  #deserialize(data: string): unknown {
    return this.#options.transformer.deserialize(JSON.parse(data) as never);
  }
}
