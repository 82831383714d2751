/**
 * One operation, over as many attempts as it takes: asks again with a back-off, from where it was, a bounded number of
 * times, and never unseen. A subscription that has seen an event only ever attaches from then on, so no reconnect starts a
 * second generation. Knows nothing of how an attempt is carried.
 */
import { TRPCClientError, type Operation, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import type { Observer, Unsubscribable } from '@trpc/server/observable';
import { withAttempt, type AttemptContext } from './attempt-context.ts';
import { LlmClientError } from './error.ts';
import type { ReconnectLinkOptions } from './reconnect-link.ts';
import { isOffline, type Return } from './returns.ts';

export type Next = Parameters<ReturnType<TRPCLink<AnyTRPCRouter>>>[0]['next'];
export type LinkError = TRPCClientError<AnyTRPCRouter>;
export type Envelope = Parameters<NonNullable<Parameters<ReturnType<Next>['subscribe']>[0]['next']>>[0];

/** The attempt that is under way. */
interface Connection {
  readonly attempt: AttemptContext;
  /** After it, nothing more is heard of the attempt. */
  readonly leave: () => void;
  /** Whether the service has given a sign of life. */
  answered: boolean;
}

/** The service may say how long to wait, but not for ever. */
const retryAfterMsMax = 60_000;

/** Subscriptions that can be left and resumed at any event. What else a host's router has may begin anew. */
const resumable = new Set(['llm.stream', 'llm.follow']);

export class Course {
  readonly #op: Operation;
  readonly #next: Next;
  readonly #observer: Observer<Envelope, LinkError>;
  readonly #options: ReconnectLinkOptions;
  #lastEventId: string | undefined;
  /** Of the input, or of the `start` event. */
  #generationId: string | undefined;
  /** In a row, since the last event or the browser's coming back. */
  #failures = 0;
  /** Those of them that count, since the browser wasn't offline. */
  #counted = 0;
  /** Whether the token was asked for anew since the last event. */
  #renewed = false;
  #over = false;
  #connection: Connection | undefined;
  /** Of the connection, or of the wait for the next one. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Whether the wait for the next connection is of this client's choosing, and may be cut short. */
  #impatient = false;
  #paused = false;
  /** The state that the reader was told last. */
  #told: 'connecting' | 'pending' | undefined;
  /** Whether the reader is not to hear of the connection being made. */
  #quiet = false;
  /** The last that the service has announced. */
  #silenceMs: number | undefined;

  constructor(op: Operation, next: Next, observer: Observer<Envelope, LinkError>, options: ReconnectLinkOptions) {
    this.#op = op;
    this.#next = next;
    this.#observer = observer;
    this.#options = options;
    const { generationId } = (op.input ?? {}) as { readonly generationId?: unknown };
    if (typeof generationId === 'string') this.#generationId = generationId;
  }

  begin(): void {
    this.#options.underWay.add(this);
    this.#op.signal?.addEventListener('abort', this.#abandon);
    if (!this.#over) this.#try();
  }

  readonly end = (): void => {
    this.#over = true;
    this.#options.underWay.delete(this);
    this.#op.signal?.removeEventListener('abort', this.#abandon);
    clearTimeout(this.#timer);
    this.#connection?.leave();
  };

  readonly fail = (error: LlmClientError): void => {
    this.end();
    this.#observer.error(clientErrorOf(error));
  };

  // ------------------------------------------------------------------------------------------------ from outside

  /**
   * Told what the browser says: waits no longer, and looks whether its connection is still there. Whether it has left an
   * attempt that nobody will answer, and is to be resumed.
   */
  returned(back: Return): boolean {
    if (this.#over || this.#paused) return false;
    const connection = this.#connection;
    if (!connection) {
      if (this.#impatient) this.#tryAnew();
    } else if (connection.answered) {
      connection.attempt.look();
    } else if (back === 'online') {
      // It was asked of a network that is gone.
      this.#paused = true;
      connection.leave();
    }
    return this.#paused;
  }

  /** Whether it follows this generation, as far as is known. */
  follows(generationId: string): boolean {
    return resumable.has(this.#op.path) && this.#generationId?.toLowerCase() === generationId.toLowerCase();
  }

  /** Whether it has asked, and not been answered. */
  get waits(): boolean {
    return this.#connection?.answered === false;
  }

  /** Gives its connection back, unseen by its reader. Whether it had one, and can be resumed without loss. */
  pause(): boolean {
    if (!this.#connection || !resumable.has(this.#op.path)) return false;
    // Nobody has named its generation yet: asked for again, it would be another one.
    if (this.#generationId === undefined && this.#lastEventId === undefined) return false;
    this.#paused = true;
    this.#quiet = this.#told === 'pending';
    this.#connection.leave();
    return true;
  }

  /** Goes on from where it was when it was paused. */
  resume(): void {
    if (this.#paused && !this.#over) this.#tryAnew();
    this.#paused = false;
  }

  // --------------------------------------------------------------------------------------------------- attempts

  #tryAnew(): void {
    this.#failures = this.#counted = 0;
    this.#paused = false;
    this.#try();
  }

  #try(): void {
    clearTimeout(this.#timer);
    const op = resumed(this.#op, this.#lastEventId);
    let attempt: AttemptContext;
    try {
      attempt = { ...encode(op.input, this.#options), look() {}, silenceMs: undefined, graceMs: undefined };
    } catch (error) {
      return this.fail(LlmClientError.from(error));
    }
    const held: { subscription?: Unsubscribable } = {};
    const connection: Connection = {
      attempt,
      answered: false,
      leave: () => {
        if (this.#connection !== connection) return;
        this.#connection = undefined;
        clearTimeout(this.#timer);
        held.subscription?.unsubscribe();
      },
    };
    this.#connection = connection;
    const connectMs = this.#connectMs();
    this.#timer = setTimeout(() => {
      connection.leave();
      this.#options.retire();
      this.#failed(new LlmClientError('unreachable', `No answer within ${connectMs} ms`));
    }, connectMs);

    held.subscription = this.#next(withAttempt(op, attempt)).subscribe({
      next: (envelope) => {
        if (this.#connection === connection) this.#take(envelope, connection);
      },
      error: (error) => {
        if (this.#connection !== connection) return;
        connection.leave();
        this.#failed(LlmClientError.from(error));
      },
      complete: () => {
        if (this.#connection !== connection) return;
        this.end();
        this.#observer.complete();
      },
    });
    // It may have ended while it began.
    if (this.#connection !== connection) held.subscription.unsubscribe();
  }

  /**
   * Where an answer is to be resumed, an attempt that shows no life is given up as early as a connection that has gone
   * silent: its grace time is running. The time doubles, for a service that is slow to take connections.
   */
  #connectMs(): number {
    const { connectMs } = this.#options.limits;
    if (this.#lastEventId === undefined || this.#silenceMs === undefined) return connectMs;
    return Math.min(connectMs, this.#silenceMs * 2 ** Math.max(0, this.#failures - 1));
  }

  #take(envelope: Envelope, connection: Connection): void {
    const { result } = envelope;
    if (result.type === 'state') {
      if (result.state === 'connecting' && result.error) {
        connection.leave();
        return this.#failed(LlmClientError.from(result.error));
      }
      if (result.state === 'connecting' || result.state === 'pending') {
        const known = this.#quiet || result.state === this.#told;
        if (result.state === 'pending') this.#quiet = false;
        if (known) return;
        this.#told = result.state;
      }
    } else {
      clearTimeout(this.#timer);
      connection.answered = true;
      this.#silenceMs = connection.attempt.silenceMs ?? this.#silenceMs;
      if (connection.attempt.graceMs !== undefined) this.#options.room?.announced(connection.attempt.graceMs);
      if (result.type === 'started' && this.#quiet) return;
      if (result.type === 'data' || result.type === undefined) this.#progress(result);
    }
    this.#observer.next(envelope);
  }

  #progress(result: { readonly id?: unknown; readonly data?: unknown }): void {
    this.#failures = this.#counted = 0;
    this.#renewed = false;
    if (typeof result.id !== 'string') return;
    if (this.#lastEventId === undefined) this.#generationId ??= startedIn(result.data);
    this.#lastEventId = result.id;
  }

  #failed(error: LlmClientError): void {
    const { limits, onReconnect, renewable, retire } = this.#options;
    const { signal } = this.#op;
    this.#quiet = false;
    if (error.code === 'unauthorized' && renewable && !this.#renewed) {
      this.#renewed = true;
      retire();
      return this.#try();
    }
    const offline = isOffline();
    const failures = (this.#failures += 1);
    if (!offline) this.#counted += 1;
    // Whether to wait for a refused request's turn is the caller's to say; an answer that has begun is worth it.
    const begun = this.#lastEventId !== undefined;
    const worth = error.retryable && (begun || error.code === 'unreachable' || error.code === 'unauthorized');
    const again = worth && !signal?.aborted && (offline || this.#counted < limits.attemptsMax);
    if (!again) return this.fail(failures === 1 ? error : after(failures, error));

    const backoffMs = Math.min(limits.delayMsMax, limits.delayMs * 2 ** (failures - 1)) * (1 - Math.random() / 2);
    const askedMs = Math.min(error.retryAfterMs ?? 0, retryAfterMsMax);
    const delayMs = Math.max(backoffMs, askedMs);
    this.#impatient = askedMs === 0;
    this.#timer = setTimeout(() => this.#try(), delayMs);
    // Last, for whoever is told may leave. A call would take the state for its answer.
    if (this.#op.type === 'subscription') {
      this.#told = 'connecting';
      this.#observer.next({ result: { type: 'state', state: 'connecting', error: clientErrorOf(error) } });
    }
    onReconnect?.({ error, failures, delayMs, offline });
  }

  /** The signal of the operation has aborted. Of a connection, its link knows how to end. */
  readonly #abandon = (): void => {
    if (this.#connection) return;
    if (this.#op.type !== 'subscription') return this.fail(LlmClientError.from(this.#op.signal?.reason));
    this.end();
    this.#observer.next({ result: { type: 'stopped' } });
    this.#observer.next({ result: { type: 'state', state: 'idle', error: null } });
    this.#observer.complete();
  };
}

/** The generation that an event of tRPC's tracked kind starts, if it is one that does. */
function startedIn(tracked: unknown): string | undefined {
  const { data } = tracked as { readonly data?: { readonly type?: unknown; readonly generationId?: unknown } | null };
  return data?.type === 'start' && typeof data.generationId === 'string' ? data.generationId : undefined;
}

/** The operation as it goes on after an event. The conversation, which the service has, is not sent again. */
function resumed(op: Operation, lastEventId: string | undefined): Operation {
  if (lastEventId === undefined) return op;
  const input = op.input as { readonly generationId?: string } | undefined;
  if (op.path === 'llm.stream' && input?.generationId !== undefined) {
    return { ...op, path: 'llm.follow', input: { generationId: input.generationId, lastEventId } };
  }
  return { ...op, input: { ...input, lastEventId } };
}

/** @throws LlmClientError `invalid_input`, `too_large` */
function encode(input: unknown, { transformer, inputBytesMax }: ReconnectLinkOptions) {
  let body: string;
  try {
    // Undefined without an input, where the transformer wraps nothing around it.
    const json: string | undefined = JSON.stringify(transformer.serialize(input));
    body = json ?? '';
  } catch (cause) {
    throw new LlmClientError('invalid_input', 'The input can not be written as JSON', { cause });
  }
  const bodyBytes = utf8Bytes(body);
  if (bodyBytes > inputBytesMax) {
    throw new LlmClientError('too_large', `The request is larger than ${inputBytesMax} bytes`);
  }
  return { body, bodyBytes };
}

/** React Native may have no TextEncoder. Of JSON, where every surrogate is one of a pair, which takes four bytes. */
function utf8Bytes(json: string): number {
  let bytes = json.length;
  for (let at = 0; at < json.length; at += 1) {
    const unit = json.charCodeAt(at);
    if (unit < 0x80) continue;
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}

function after(failures: number, error: LlmClientError): LlmClientError {
  if (error.code !== 'unreachable') return error;
  const { retryable } = error;
  return new LlmClientError('unreachable', `${error.message} (${failures} attempts)`, { retryable, cause: error });
}

/** As tRPC's own clients throw it, with the same `data.llm` as a refusal's. */
function clientErrorOf(error: LlmClientError): LinkError {
  const { code, message, retryable, retryAfterMs, issues } = error;
  const data = { llm: { code, message, retryable, retryAfterMs, issues } };
  return new TRPCClientError(message, {
    result: { error: { message, code: unprocessableNumber, data } },
    cause: error,
  });
}

/** tRPC's number for UNPROCESSABLE_CONTENT. */
const unprocessableNumber = -32022;
