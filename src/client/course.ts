/**
 * One operation, over as many attempts as it takes. After a lost connection it waits, and asks again from the last
 * event that it has seen. The number of attempts is bounded, and the reader is informed of each. After the first event
 * it only follows the generation, so no reconnect starts a second one. Knows nothing of how the links carry an attempt.
 */
import type { Operation } from '@trpc/client';
import type { Observer } from '@trpc/server/observable';
import type { AttemptContext } from './attempt-context.ts';
import { BackOff } from './back-off.ts';
import { Connection, type Envelope, type Next } from './connection.ts';
import { LlmClientError } from './error.ts';
import { linkErrorOf, type LinkError } from './link-error.ts';
import type { ReconnectLinkOptions } from './reconnect-link.ts';
import { encode, isResumable, resumed, startedIn } from './resumption.ts';
import type { Return } from './returns.ts';

export class Course {
  readonly #op: Operation;
  readonly #next: Next;
  readonly #observer: Observer<Envelope, LinkError>;
  readonly #options: ReconnectLinkOptions;
  readonly #backOff: BackOff;
  /** The event from which the next attempt resumes. */
  #lastEventId: string | undefined;
  /** Given by the input, or by the `start` event. */
  #generationId: string | undefined;
  /** Whether the token was renewed since the last event. It is renewed once; the next refusal is final. */
  #renewed = false;
  #over = false;
  /** The attempt that is under way; undefined during a wait or a pause. */
  #connection: Connection | undefined;
  #wait: ReturnType<typeof setTimeout> | undefined;
  /** Whether the browser's return ends the wait. It doesn't where the service asked for the wait. */
  #waitCanBeCut = false;
  #paused = false;
  /** The connection state that the reader was given last. */
  #shownState: 'connecting' | 'pending' | undefined;
  /**
   * Whether the states of the connection are kept from the reader, since a pause that it doesn't know of has just
   * ended.
   */
  #quiet = false;
  /** The longest silence of a living connection, as the service announced it last. */
  #silenceMs: number | undefined;

  constructor(op: Operation, next: Next, observer: Observer<Envelope, LinkError>, options: ReconnectLinkOptions) {
    this.#op = op;
    this.#next = next;
    this.#observer = observer;
    this.#options = options;
    this.#backOff = new BackOff(options.limits);
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
    clearTimeout(this.#wait);
    this.#leave();
  };

  readonly fail = (error: LlmClientError): void => {
    this.end();
    this.#observer.error(linkErrorOf(error));
  };

  // --------------------------------------------------------------------------------- called by other parts of the client

  /**
   * Reacts to the browser's return: ends a wait, and checks whether a connection is still alive. Returns whether the
   * course has left an attempt that nobody will answer, so that `resume` must be called.
   */
  returned(back: Return): boolean {
    if (this.#over || this.#paused) return false;
    const connection = this.#connection;
    if (!connection) {
      if (this.#waitCanBeCut) this.#tryAnew();
    } else if (connection.answered) {
      connection.attempt.look();
    } else if (back === 'online') {
      // The request was sent over a network that is gone.
      this.#paused = true;
      this.#leave();
    }
    return this.#paused;
  }

  /** Whether it follows this generation, as far as it knows. */
  follows(generationId: string): boolean {
    return isResumable(this.#op) && this.#generationId?.toLowerCase() === generationId.toLowerCase();
  }

  /** Whether it has sent a request that the service hasn't answered. */
  get waits(): boolean {
    return this.#connection?.answered === false;
  }

  /**
   * Gives its connection back without its reader noticing. Returns false where it has no connection, or can't be
   * resumed without loss.
   */
  pause(): boolean {
    if (!this.#connection || !isResumable(this.#op)) return false;
    // The generation has no id yet. Asked for again, it would be another one.
    if (this.#generationId === undefined && this.#lastEventId === undefined) return false;
    this.#paused = true;
    this.#quiet = this.#shownState === 'pending';
    this.#leave();
    return true;
  }

  /** Continues after a pause, from the last event. */
  resume(): void {
    if (this.#paused && !this.#over) this.#tryAnew();
    this.#paused = false;
  }

  // --------------------------------------------------------------------------------------------------- attempts

  #tryAnew(): void {
    this.#backOff.reset();
    this.#paused = false;
    this.#try();
  }

  #try(): void {
    clearTimeout(this.#wait);
    const op = resumed(this.#op, this.#lastEventId);
    let input: ReturnType<typeof encode>;
    try {
      input = encode(op.input, this.#options);
    } catch (error) {
      return this.fail(LlmClientError.from(error));
    }
    const attempt: AttemptContext = { ...input, look() {}, silenceMs: undefined, graceMs: undefined };
    const connection = new Connection(attempt, {
      onEnvelope: (envelope) => this.#take(envelope, connection),
      onError: (error) => this.#lose(error),
      onTimeout: (connectMs) => {
        this.#leave();
        this.#options.retire();
        this.#failed(new LlmClientError('unreachable', `No answer within ${connectMs} ms`));
      },
      onComplete: () => {
        this.end();
        this.#observer.complete();
      },
    });
    this.#connection = connection;
    connection.open(op, this.#next, this.#connectMs());
  }

  /**
   * How long an attempt may wait for the service's first answer: `connectMs`. After a lost connection, the generation's
   * disconnect clock may be running. So the first new attempt waits only as long as a connection may be silent, and each
   * failure doubles that, up to `connectMs`, for a service that is slow to take connections.
   */
  #connectMs(): number {
    const { connectMs } = this.#options.limits;
    if (this.#lastEventId === undefined || this.#silenceMs === undefined) return connectMs;
    return Math.min(connectMs, this.#silenceMs * 2 ** Math.max(0, this.#backOff.failures - 1));
  }

  #leave(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.leave();
  }

  #take(envelope: Envelope, connection: Connection): void {
    const { result } = envelope;
    if (result.type === 'state') {
      if (result.state === 'connecting' && result.error) return this.#lose(LlmClientError.from(result.error));
      if (result.state === 'connecting' || result.state === 'pending') {
        const known = this.#quiet || result.state === this.#shownState;
        if (result.state === 'pending') this.#quiet = false;
        if (known) return;
        this.#shownState = result.state;
      }
    } else {
      connection.noteAnswer();
      this.#silenceMs = connection.attempt.silenceMs ?? this.#silenceMs;
      if (connection.attempt.graceMs !== undefined) this.#options.room?.announced(connection.attempt.graceMs);
      if (result.type === 'started' && this.#quiet) return;
      if (result.type === 'data' || result.type === undefined) this.#progress(result);
    }
    this.#observer.next(envelope);
  }

  #progress(result: { readonly id?: unknown; readonly data?: unknown }): void {
    this.#backOff.reset();
    this.#renewed = false;
    if (typeof result.id !== 'string') return;
    if (this.#lastEventId === undefined) this.#generationId ??= startedIn(result.data);
    this.#lastEventId = result.id;
  }

  // ----------------------------------------------------------------------------------------------------- failures

  #lose(error: LlmClientError): void {
    this.#leave();
    this.#failed(error);
  }

  #failed(error: LlmClientError): void {
    const { onReconnect, renewable, retire } = this.#options;
    this.#quiet = false;
    if (error.code === 'unauthorized' && renewable && !this.#renewed) {
      this.#renewed = true;
      retire();
      return this.#try();
    }
    const wait = this.#backOff.after(error, this.#lastEventId !== undefined);
    const { failures } = this.#backOff;
    if (!wait || this.#op.signal?.aborted) return this.fail(failures === 1 ? error : afterAll(failures, error));

    const { delayMs, offline } = wait;
    this.#waitCanBeCut = !wait.asked;
    this.#wait = setTimeout(() => this.#try(), delayMs);
    // These come last, since the reader or the app may leave in answer to them. A call's reader would take a state for
    // the call's result, so only subscriptions get one.
    if (this.#op.type === 'subscription') {
      this.#shownState = 'connecting';
      this.#observer.next({ result: { type: 'state', state: 'connecting', error: linkErrorOf(error) } });
    }
    onReconnect?.({ error, failures, delayMs, offline });
  }

  /** Runs when the operation's signal aborts. A connection is left to its link, which listens to the same signal. */
  readonly #abandon = (): void => {
    if (this.#connection) return;
    if (this.#op.type !== 'subscription') return this.fail(LlmClientError.from(this.#op.signal?.reason));
    this.end();
    this.#observer.next({ result: { type: 'stopped' } });
    this.#observer.next({ result: { type: 'state', state: 'idle', error: null } });
    this.#observer.complete();
  };
}

function afterAll(failures: number, error: LlmClientError): LlmClientError {
  if (error.code !== 'unreachable') return error;
  const { retryable } = error;
  return new LlmClientError('unreachable', `${error.message} (${failures} attempts)`, { retryable, cause: error });
}
