/**
 * One request to upstream, from sending it until its socket is closed. Knows nothing of retries. An attempt has exactly
 * one of three ends: its message is complete, it has a failure, or it was stopped. After `close` its socket is closed
 * or kept for another request.
 *
 * Each read of the socket passes through here in one call: the body calls `#read`, `#parse` turns the bytes into
 * events, and `#handOver` gives them to the sink.
 */
import type { LlmEvent } from '../protocol.ts';
import type { Sink } from '../flow/sink.ts';
import type { AnswerRoom } from './answer-room.ts';
import { FailureCause, UpstreamFailure } from './failures.ts';
import type { ResponseBody } from './http/body.ts';
import { MessageReader, type MessageReaderOptions, type StreamFailure } from './messages-api/message-reader.ts';
import { ObjectBody } from './messages-api/object-body.ts';
import type { StepContent } from './messages-api/step-content.ts';
import type { SuccessfulResponse } from './send-request.ts';
import type { AttemptUsage } from './usage.ts';
import type { Watchdog } from './watchdog.ts';

export interface AttemptOptions {
  /**
   * Sends the request. Once the signal aborts it may reject with anything, but not before the socket is closed.
   *
   * @throws UpstreamFailure
   */
  readonly send: (signal: AbortSignal) => Promise<SuccessfulResponse>;
  /** Whether thinking is emitted. */
  readonly showThinking: boolean;
  /** Set where the answer is an object. See `MessageReaderOptions`. */
  readonly output?: MessageReaderOptions['output'] | undefined;
  readonly room: AnswerRoom;
  /** Keeps the message; absent where no step may follow. */
  readonly step?: StepContent | undefined;
  readonly timeouts: { readonly firstByteMs: number; readonly idleMs: number };
  readonly watchdog: Watchdog;
}

const eventStreamType = /^text\/event-stream\b/i;

export class Attempt {
  readonly message: MessageReader;
  readonly #options: AttemptOptions;
  readonly #abort = new AbortController();
  #response: SuccessfulResponse | undefined;
  /** Reads the body where upstream sends a JSON object or a page instead of a stream. */
  #object: ObjectBody | undefined;
  #sent = false;
  #firstRead = true;
  #stopped = false;
  #failure: UpstreamFailure | undefined;
  #outputAtMs: number | undefined;

  constructor(options: AttemptOptions) {
    this.#options = options;
    this.message = new MessageReader(options);
  }

  /** Whether it is complete, has failed or was stopped. */
  get over(): boolean {
    return this.#stopped || this.message.complete || this.#failure !== undefined;
  }

  /**
   * Undefined where the message is complete, where the attempt was stopped without a failure, and before it is over.
   */
  get failure(): UpstreamFailure | undefined {
    return this.#failure;
  }

  /** Upstream's id of the request, once the response's head has been read. */
  get requestId(): string | undefined {
    return this.#response?.requestId;
  }

  /** What the attempt used; undefined where upstream bills nothing for it. */
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
   * Sends the request, and hands the sink the events of each read. Settles when it is over. Rejects with what the sink
   * throws.
   */
  async pipe(sink: Sink<LlmEvent[]>): Promise<void> {
    const response = await this.#send();
    if (!response) return;
    const { body } = response;
    await body.pipe((chunks) => this.#read(chunks, body, sink));
    // The body is finished or broken, and no event has said that the message is complete or has failed.
    if (!this.over) this.#failure = this.#object?.failure(response) ?? this.#truncated(body);
  }

  /** Stops it at once, with the failure if one is given. Events that the sink doesn't have yet are lost. */
  stop(failure?: UpstreamFailure): void {
    if (this.over) return;
    this.#stopped = true;
    this.#failure = failure;
    this.#abort.abort('stopped');
    this.#response?.body.destroy();
  }

  /** Settles when the socket is closed or, after a complete message, kept for another request. */
  async close(): Promise<void> {
    this.stop();
    if (this.message.complete) await this.#response?.body.drain();
    else await this.#response?.body.close();
  }

  /** Resolves to undefined where the attempt is over without a response. */
  async #send(): Promise<SuccessfulResponse | undefined> {
    const { send, timeouts, watchdog } = this.#options;
    if (this.over) return undefined;
    this.#sent = true;
    watchdog.expect('first_byte_ms', timeouts.firstByteMs);
    try {
      this.#response = await send(this.#abort.signal);
    } catch (error) {
      if (this.#stopped) return undefined;
      if (!(error instanceof UpstreamFailure)) throw error;
      this.#failure = error;
      return undefined;
    }
    if (this.#stopped) return undefined;
    const { contentType } = this.#response;
    if (contentType !== null && !eventStreamType.test(contentType)) this.#object = new ObjectBody();
    return this.#response;
  }

  #read(chunks: readonly Buffer[], body: ResponseBody, sink: Sink<LlmEvent[]>): Promise<void> | undefined {
    const events = this.#parse(chunks);
    if (this.message.complete) body.stop();
    else if (this.over) body.destroy();
    return events.length > 0 ? this.#handOver(events, sink) : undefined;
  }

  #parse(chunks: readonly Buffer[]): LlmEvent[] {
    const { timeouts, watchdog } = this.#options;
    if (this.#firstRead && ObjectBody.begins(chunks)) this.#object ??= new ObjectBody();
    const before = this.message.signsOfLife;
    const events = this.#object ? this.#parseObject(this.#object, chunks) : this.message.push(chunks);
    // Bytes alone are no sign of life: a proxy in front of a dead upstream can send pings for ever.
    if (this.#firstRead || this.message.signsOfLife > before) watchdog.expect('idle_ms', timeouts.idleMs);
    this.#firstRead = false;
    if (this.message.hasOutput) this.#outputAtMs ??= performance.now();
    if (this.message.failure) this.#failure = this.#streamFailed(this.message.failure);
    return events;
  }

  #parseObject(object: ObjectBody, chunks: readonly Buffer[]): LlmEvent[] {
    if (object.push(chunks)) this.#failure = object.failure(this.#response!);
    return [];
  }

  #handOver(events: LlmEvent[], sink: Sink<LlmEvent[]>): Promise<void> | undefined {
    const { timeouts, watchdog } = this.#options;
    const full = sink(events);
    if (!full) return undefined;
    // While the sink is busy it is not upstream that is late.
    watchdog.expectNothing();
    return full.then(() => watchdog.expect('idle_ms', timeouts.idleMs));
  }

  #streamFailed({ code, cause, requestId, said }: StreamFailure): UpstreamFailure {
    return new UpstreamFailure(code, {
      cause,
      requestId: this.requestId ?? requestId,
      said,
      retry: this.#response?.shouldRetry,
      // An error event before `message_start` is a refusal, and upstream bills nothing for a refusal.
      maybeBilled: cause.code !== 'error_event' || this.message.usage.started,
    });
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
      cause: new FailureCause('the stream stopped before the message was complete', {
        code: finished ? 'no_message_stop' : 'connection_broke',
      }),
      requestId: this.requestId,
      retry: this.#response?.shouldRetry,
    });
  }
}
