/**
 * One request to upstream, from sending it to the close of its socket. Knows nothing of what comes after it. However it
 * ends, it ends as complete, with a failure, or stopped, and its socket is closed or fit for reuse after `close`.
 */
import type { LlmEvent } from '../protocol.ts';
import type { Sink } from '../flow/sink.ts';
import type { AnswerRoom } from './answer-room.ts';
import type { ResponseBody } from './http/body.ts';
import { UpstreamFailure, FailureCause } from './failures.ts';
import { MessageReader } from './messages-api/message-reader.ts';
import { ObjectBody } from './messages-api/object-body.ts';
import type { AttemptUsage } from './usage.ts';
import type { Watchdog } from './watchdog.ts';

export interface SuccessfulResponse {
  /** Null where upstream gave none. */
  readonly contentType: string | null;
  readonly requestId: string | undefined;
  /** What upstream says of sending the same request again; undefined where it leaves that to its error. */
  readonly shouldRetry: boolean | undefined;
  readonly body: ResponseBody;
}

export interface AttemptOptions {
  /**
   * Sends the request. Once the signal aborts it may reject with anything, but not before the socket is closed.
   *
   * @throws UpstreamFailure
   */
  readonly send: (signal: AbortSignal) => Promise<SuccessfulResponse>;
  readonly showThinking: boolean;
  readonly room: AnswerRoom;
  readonly timeouts: { readonly firstByteMs: number; readonly idleMs: number };
  readonly watchdog: Watchdog;
}

export class Attempt {
  readonly message: MessageReader;
  readonly #options: AttemptOptions;
  readonly #abort = new AbortController();
  #response: SuccessfulResponse | undefined;
  /** What comes in place of a stream. */
  #object: ObjectBody | undefined;
  #sent = false;
  #heard = false;
  #stopped = false;
  #failure: UpstreamFailure | undefined;
  #outputAtMs: number | undefined;

  constructor(options: AttemptOptions) {
    this.#options = options;
    this.message = new MessageReader(options);
  }

  get over(): boolean {
    return this.#stopped || this.message.complete || this.#failure !== undefined;
  }

  /** Why it ended, unless it is complete or was stopped without a reason. */
  get failure(): UpstreamFailure | undefined {
    return this.#failure;
  }

  /** Upstream's id of it, once upstream has answered. */
  get requestId(): string | undefined {
    return this.#response?.requestId;
  }

  /** What it used; undefined if upstream has nothing to bill. */
  get usage(): AttemptUsage | undefined {
    const { usage, complete } = this.message;
    const maybeBilled = this.#sent && (this.#failure?.maybeBilled ?? true);
    return usage.started || maybeBilled ? usage.report(complete) : undefined;
  }

  /** When the first content block began, on the clock of `performance.now()`. */
  get outputAtMs(): number | undefined {
    return this.#outputAtMs;
  }

  /**
   * Sends the request, and hands the events of each read to the sink. Settles when it is over. Rejects with what the sink
   * throws.
   */
  async pipe(sink: Sink<LlmEvent[]>): Promise<void> {
    const body = await this.#open();
    await body?.pipe((chunks) => {
      const events = this.#take(chunks);
      if (this.message.complete) body.stop();
      else if (this.over) body.destroy();
      return events.length > 0 ? this.#handOver(events, sink) : undefined;
    });
    if (body && !this.over) this.#failure = this.#object?.failure(this.#response!) ?? this.#truncated(body);
  }

  /** Ends it at once, with the failure if there is one. What was read but not told is lost. */
  stop(failure?: UpstreamFailure): void {
    if (this.over) return;
    this.#stopped = true;
    this.#failure = failure;
    this.#abort.abort('stopped');
    this.#response?.body.destroy();
  }

  /** Settles when the socket is closed, or has gone back to be reused after a complete message. */
  async close(): Promise<void> {
    this.stop();
    if (this.message.complete) await this.#response?.body.drain();
    else await this.#response?.body.close();
  }

  /** Undefined if it is over. */
  async #open(): Promise<ResponseBody | undefined> {
    const { send, timeouts, watchdog } = this.#options;
    if (this.over) return undefined;
    this.#sent = true;
    watchdog.expect('first_byte_ms', timeouts.firstByteMs);
    try {
      const { body, contentType } = (this.#response = await send(this.#abort.signal));
      if (this.#stopped) return undefined;
      if (contentType !== null && !/^text\/event-stream\b/i.test(contentType)) this.#object = new ObjectBody();
      return body;
    } catch (error) {
      if (this.#stopped) return undefined;
      if (!(error instanceof UpstreamFailure)) throw error;
      this.#failure = error;
      return undefined;
    }
  }

  #handOver(events: LlmEvent[], sink: Sink<LlmEvent[]>): Promise<void> | undefined {
    const { timeouts, watchdog } = this.#options;
    const full = sink(events);
    if (!full) return undefined;
    // While the sink is busy, upstream isn't the one that keeps us waiting.
    watchdog.expectNothing();
    return full.then(() => watchdog.expect('idle_ms', timeouts.idleMs));
  }

  #take(chunks: readonly Buffer[]): LlmEvent[] {
    const { timeouts, watchdog } = this.#options;
    if (!this.#heard && ObjectBody.begins(chunks)) this.#object ??= new ObjectBody();
    const before = this.message.signsOfLife;
    const events = this.#object ? this.#takeObject(this.#object, chunks) : this.message.push(chunks);
    // Bytes alone are no sign of life: a proxy's pings may go on for ever.
    if (!this.#heard || this.message.signsOfLife > before) watchdog.expect('idle_ms', timeouts.idleMs);
    this.#heard = true;
    if (this.message.hasOutput) this.#outputAtMs ??= performance.now();
    const { failure } = this.message;
    if (failure) {
      this.#failure = new UpstreamFailure(failure.code, {
        cause: failure.cause,
        requestId: this.requestId ?? failure.requestId,
        said: failure.said,
        retry: this.#response?.shouldRetry,
        // An error in place of a message is a refusal.
        maybeBilled: failure.cause.code !== 'error_event' || this.message.usage.started,
      });
    }
    return events;
  }

  #takeObject(object: ObjectBody, chunks: readonly Buffer[]): LlmEvent[] {
    if (object.push(chunks)) this.#failure = object.failure(this.#response!);
    return [];
  }

  #truncated({ finished, undecodable }: ResponseBody): UpstreamFailure {
    if (undecodable) {
      const cause = new FailureCause('the body is not what its content-encoding says', {
        code: 'content_encoding_broken',
      });
      return new UpstreamFailure('upstream_error', { cause, requestId: this.requestId, retry: false });
    }
    return new UpstreamFailure('upstream_truncated', {
      ...(finished ? {} : { message: 'The connection to the model provider broke in mid-answer' }),
      cause: new FailureCause('the answer broke off', { code: finished ? 'no_message_stop' : 'connection_broke' }),
      requestId: this.requestId,
      retry: this.#response?.shouldRetry,
    });
  }
}
