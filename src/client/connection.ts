/**
 * One attempt at an operation that is under way: subscribes to the links below and waits for the service's first answer
 * for a bounded time. After `leave` it calls its listener no more.
 */
import type { Operation, TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import type { Unsubscribable } from '@trpc/server/observable';
import { withAttempt, type AttemptContext } from './attempt-context.ts';
import { LlmClientError } from './error.ts';

/** The links below, as a function. */
export type Next = Parameters<ReturnType<TRPCLink<AnyTRPCRouter>>>[0]['next'];
/** What links pass on: a result with its type. */
export type Envelope = Parameters<NonNullable<Parameters<ReturnType<Next>['subscribe']>[0]['next']>>[0];

export interface ConnectionListener {
  onEnvelope(envelope: Envelope): void;
  /** The attempt has failed, or the links have thrown. */
  onError(error: LlmClientError): void;
  /** The service has not answered within `connectMs`. */
  onTimeout(connectMs: number): void;
  onComplete(): void;
}

export class Connection {
  readonly attempt: AttemptContext;
  readonly #listener: ConnectionListener;
  #answered = false;
  #left = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #subscription: Unsubscribable | undefined;

  constructor(attempt: AttemptContext, listener: ConnectionListener) {
    this.attempt = attempt;
    this.#listener = listener;
  }

  /** Whether the service has given a sign of life. */
  get answered(): boolean {
    return this.#answered;
  }

  /** Calls the links. They may call the listener before this returns. */
  open(op: Operation, next: Next, connectMs: number): void {
    const listener = this.#listener;
    this.#timer = setTimeout(() => listener.onTimeout(connectMs), connectMs);
    const subscription = next(withAttempt(op, this.attempt)).subscribe({
      next: (envelope) => {
        if (!this.#left) listener.onEnvelope(envelope);
      },
      error: (error) => {
        if (!this.#left) listener.onError(LlmClientError.from(error));
      },
      complete: () => {
        if (!this.#left) listener.onComplete();
      },
    });
    // The listener may have left during `subscribe`, before there was a subscription to end.
    if (this.#left) subscription.unsubscribe();
    else this.#subscription = subscription;
  }

  /** The service has given a sign of life: its time to answer is no longer limited. */
  noteAnswer(): void {
    clearTimeout(this.#timer);
    this.#answered = true;
  }

  /** Ends the attempt. */
  leave(): void {
    if (this.#left) return;
    this.#left = true;
    clearTimeout(this.#timer);
    this.#subscription?.unsubscribe();
  }
}
