/**
 * Keeps subscriptions and repeatable calls going through lost connections: asks again with a back-off, from where it was,
 * a bounded number of times, and never unseen. Below it the stock links make one attempt each; it knows not how.
 *
 * A subscription that has seen an event only ever attaches from then on, so no reconnect starts a second generation.
 */
import { TRPCClientError, type Operation, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable, type Observer, type Unsubscribable } from '@trpc/server/observable';
import { withAttempt, type Attempt } from './attempt.ts';
import { LlmClientError } from './error.ts';
import type { Transformer } from './transformer.ts';

/** Bounds on coming back. */
export interface ReconnectLimits {
  /** Attempts in a row without an event before `unreachable` is thrown; 10 by default, the first one included. */
  readonly attemptsMax: number;
  /** Before the second attempt, doubled before each further one, less up to a half of it at random; 250 by default. */
  readonly delayMs: number;
  /** 10,000 by default. */
  readonly delayMsMax: number;
  /** From the beginning of an attempt to the first sign of the service; 30,000 by default. */
  readonly connectMs: number;
}

export const defaultReconnectLimits: ReconnectLimits = {
  attemptsMax: 10,
  delayMs: 250,
  delayMsMax: 10_000,
  connectMs: 30_000,
};

/** A connection that failed and will be tried again. */
export interface Reconnect {
  /** What went wrong. */
  readonly error: LlmClientError;
  /** Attempts in a row that have failed. */
  readonly failures: number;
  /** Until the next one. */
  readonly delayMs: number;
}

export interface ReconnectLinkOptions {
  readonly limits: ReconnectLimits;
  readonly transformer: Transformer;
  /** Bytes of an input that a subscription can carry. */
  readonly inputBytesMax: number;
  /** Whether asking for the token again can give another one. */
  readonly renewable: boolean;
  /** Called where the next attempt must not use the connection of this one. */
  readonly retire: () => void;
  readonly onReconnect: ((reconnect: Reconnect) => void) | undefined;
  readonly underWay: UnderWay;
}

/** The operations of one client, which end when it is closed. */
export class UnderWay {
  readonly #failures = new Set<(error: LlmClientError) => void>();
  #closed = false;

  /** Calls back when the client is closed, or at once if it is. */
  add(fail: (error: LlmClientError) => void): void {
    this.#failures.add(fail);
    if (this.#closed) this.close();
  }

  delete(fail: (error: LlmClientError) => void): void {
    this.#failures.delete(fail);
  }

  close(): void {
    this.#closed = true;
    for (const fail of this.#failures) fail(new LlmClientError('closed', 'The client was closed'));
    this.#failures.clear();
  }
}

/** The service may say how long to wait, but not for ever. */
const retryAfterMsMax = 60_000;

/** Calls that may be made twice. What else there is in a host's router passes as it is. */
const repeatableCalls = new Set(['llm.configs', 'llm.generation', 'llm.generations', 'llm.cancel']);

export function reconnectLink(options: ReconnectLinkOptions): TRPCLink<AnyTRPCRouter> {
  return () =>
    ({ op, next }) => {
      if (op.type !== 'subscription' && !repeatableCalls.has(op.path)) return next(op);
      return observable((observer) => {
        const course = new Course(op, next, observer, options);
        course.begin();
        return course.end;
      });
    };
}

type Next = Parameters<ReturnType<TRPCLink<AnyTRPCRouter>>>[0]['next'];
type LinkError = TRPCClientError<AnyTRPCRouter>;
type Envelope = Parameters<NonNullable<Parameters<ReturnType<Next>['subscribe']>[0]['next']>>[0];

/** One operation, over as many attempts as it takes. */
class Course {
  readonly #op: Operation;
  readonly #next: Next;
  readonly #observer: Observer<Envelope, LinkError>;
  readonly #options: ReconnectLinkOptions;
  #lastEventId: string | undefined;
  /** In a row, since the last event. */
  #failures = 0;
  /** Whether the token was asked for anew since the last event. */
  #renewed = false;
  #over = false;
  #leaveAttempt = (): void => {};
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(op: Operation, next: Next, observer: Observer<Envelope, LinkError>, options: ReconnectLinkOptions) {
    this.#op = op;
    this.#next = next;
    this.#observer = observer;
    this.#options = options;
  }

  begin(): void {
    this.#options.underWay.add(this.#fail);
    if (!this.#over) this.#try();
  }

  readonly end = (): void => {
    this.#over = true;
    this.#options.underWay.delete(this.#fail);
    clearTimeout(this.#timer);
    this.#leaveAttempt();
  };

  readonly #fail = (error: LlmClientError): void => {
    this.end();
    this.#observer.error(clientErrorOf(error));
  };

  #try(): void {
    const op = resumed(this.#op, this.#lastEventId);
    let attempt: Attempt;
    try {
      attempt = { ...encode(op.input, this.#options), requested: false, failure: undefined };
    } catch (error) {
      return this.#fail(LlmClientError.from(error));
    }
    let over = false;
    const held: { subscription?: Unsubscribable } = {};
    /** After it, nothing more is heard of this attempt. */
    const leave = () => {
      over = true;
      clearTimeout(this.#timer);
      held.subscription?.unsubscribe();
    };
    this.#leaveAttempt = leave;
    this.#timer = setTimeout(() => {
      leave();
      this.#options.retire();
      this.#failed(new LlmClientError('unreachable', `No answer within ${this.#options.limits.connectMs} ms`));
    }, this.#options.limits.connectMs);

    held.subscription = this.#next(withAttempt(op, attempt)).subscribe({
      next: (envelope) => {
        if (over) return;
        const { result } = envelope;
        if (result.type === 'state') {
          if (result.state === 'connecting' && result.error) {
            leave();
            return this.#failed(attempt.failure ?? LlmClientError.from(result.error));
          }
          // That it connects again was told with the reason for it.
          if (result.state === 'connecting' && this.#failures > 0) return;
        } else {
          clearTimeout(this.#timer);
          if (result.type === 'data' || result.type === undefined) this.#progress(result);
        }
        this.#observer.next(envelope);
      },
      error: (error) => {
        if (over) return;
        leave();
        this.#failed(attempt.failure ?? LlmClientError.from(error));
      },
      complete: () => {
        if (over) return;
        leave();
        this.#observer.complete();
      },
    });
    // It may have ended while it began.
    if (over) held.subscription.unsubscribe();
  }

  #progress(result: object): void {
    this.#failures = 0;
    this.#renewed = false;
    if ('id' in result && typeof result.id === 'string') this.#lastEventId = result.id;
  }

  #failed(error: LlmClientError): void {
    const { limits, onReconnect, renewable, retire } = this.#options;
    if (error.code === 'unauthorized' && renewable && !this.#renewed) {
      this.#renewed = true;
      retire();
      return this.#try();
    }
    this.#failures += 1;
    const failures = this.#failures;
    // Whether to wait for a refused request's turn is the caller's to say; an answer that has begun is worth it.
    const begun = this.#lastEventId !== undefined;
    const again = error.retryable && (begun || error.code === 'unreachable' || error.code === 'unauthorized');
    if (!again || failures >= limits.attemptsMax) return this.#fail(failures === 1 ? error : after(failures, error));

    const backoffMs = Math.min(limits.delayMsMax, limits.delayMs * 2 ** (failures - 1)) * (1 - Math.random() / 2);
    const delayMs = Math.max(backoffMs, Math.min(error.retryAfterMs ?? 0, retryAfterMsMax));
    this.#timer = setTimeout(() => this.#try(), delayMs);
    // Last, for whoever is told may leave. A call would take the state for its answer.
    if (this.#op.type === 'subscription') {
      this.#observer.next({ result: { type: 'state', state: 'connecting', error: clientErrorOf(error) } });
    }
    onReconnect?.({ error, failures, delayMs });
  }
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
    body = JSON.stringify(transformer.serialize(input));
  } catch (cause) {
    throw new LlmClientError('invalid_input', 'The input can not be written as JSON', { cause });
  }
  const bodyBytes = new TextEncoder().encode(body).length;
  if (bodyBytes > inputBytesMax) {
    throw new LlmClientError('too_large', `The request is larger than ${inputBytesMax} bytes`);
  }
  return { body, bodyBytes };
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
