/**
 * One request to upstream, from sending it to the close of its socket. Knows nothing of what comes after it. However it
 * ends, it ends as complete, with a failure, or stopped, and its socket is closed or fit for reuse after `close`.
 */
import type { LlmEvent } from '../protocol.ts';
import type { ResponseBody } from './body.ts';
import { UpstreamFailure, UpstreamFault } from './failures.ts';
import { MessageReader } from './message-reader.ts';
import type { AttemptUsage } from './usage.ts';
import type { Watchdog } from './watchdog.ts';

export interface Answer {
  /** Null where upstream gave none. */
  readonly contentType: string | null;
  readonly requestId: string | undefined;
  readonly body: ResponseBody;
}

export interface AttemptOptions {
  /**
   * Sends the request. Once the signal aborts it may reject with anything, but not before the socket is closed.
   *
   * @throws UpstreamFailure
   */
  readonly send: (signal: AbortSignal) => Promise<Answer>;
  readonly showThinking: boolean;
  readonly timeouts: { readonly firstByteMs: number; readonly idleMs: number };
  readonly watchdog: Watchdog;
}

export class Attempt {
  readonly message: MessageReader;
  readonly #options: AttemptOptions;
  readonly #abort = new AbortController();
  #answer: Answer | undefined;
  #sent = false;
  #heard = false;
  #stopped = false;
  #failure: UpstreamFailure | undefined;

  constructor(options: AttemptOptions) {
    this.#options = options;
    this.message = new MessageReader({ showThinking: options.showThinking });
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
    return this.#answer?.requestId;
  }

  /** What it used; undefined if upstream has nothing to bill. */
  get usage(): AttemptUsage | undefined {
    const { usage, complete } = this.message;
    const maybeBilled = this.#sent && (this.#failure?.maybeBilled ?? true);
    return usage.started || maybeBilled ? usage.report(complete) : undefined;
  }

  /** Sends the request if it wasn't yet; settles when there is something to read. Not to be called once it is over. */
  ready(): Promise<void> | undefined {
    return this.#answer ? this.#answer.body.ready() : this.#open();
  }

  /** The events of all that has come, perhaps none; to be called after `ready`. The last ones come together with `over`. */
  read(): LlmEvent[] {
    if (this.over) return [];
    const { body } = this.#answer!;
    const chunks = body.take();
    if (chunks) return this.#take(chunks);
    this.#failure = this.#truncated(body.ended);
    return [];
  }

  /** Ends it at once, with the failure if there is one. What was read but not told is lost. */
  stop(failure?: UpstreamFailure): void {
    if (this.over) return;
    this.#stopped = true;
    this.#failure = failure;
    this.#abort.abort();
    this.#answer?.body.destroy();
  }

  /** Settles when the socket is closed, or has gone back to be reused after a complete message. */
  async close(): Promise<void> {
    this.stop();
    if (this.message.complete) await this.#answer?.body.finish();
    else await this.#answer?.body.close();
  }

  async #open(): Promise<void> {
    const { send, timeouts, watchdog } = this.#options;
    this.#sent = true;
    watchdog.expect('first_byte_ms', timeouts.firstByteMs);
    try {
      const answer = (this.#answer = await send(this.#abort.signal));
      if (this.#stopped) return await answer.body.close();
      const { contentType } = answer;
      if (contentType === null || /^text\/event-stream\b/i.test(contentType)) return await answer.body.ready();
      await answer.body.close();
      const cause = new UpstreamFault('the answer is no event stream', { code: 'no_event_stream' });
      throw new UpstreamFailure('upstream_error', { cause, requestId: answer.requestId });
    } catch (error) {
      if (this.#stopped) return;
      if (!(error instanceof UpstreamFailure)) throw error;
      this.#failure = error;
    }
  }

  #take(chunks: readonly Buffer[]): LlmEvent[] {
    const { timeouts, watchdog } = this.#options;
    const before = this.message.signsOfLife;
    const events = this.message.push(chunks);
    // Bytes alone are no sign of life: a proxy's pings may go on for ever.
    if (!this.#heard || this.message.signsOfLife > before) watchdog.expect('idle_ms', timeouts.idleMs);
    this.#heard = true;
    const { failure } = this.message;
    if (failure) {
      this.#failure = new UpstreamFailure(failure.code, {
        cause: failure.cause,
        requestId: this.requestId ?? failure.requestId,
        said: failure.said,
        // An error in place of a message is a refusal.
        maybeBilled: failure.cause.code !== 'error_event' || this.message.usage.started,
      });
    }
    return events;
  }

  #truncated(ended: boolean): UpstreamFailure {
    return new UpstreamFailure('upstream_truncated', {
      ...(ended ? {} : { message: 'The connection to the model provider broke in mid-answer' }),
      cause: new UpstreamFault('the answer broke off', { code: ended ? 'no_message_stop' : 'connection_broke' }),
      requestId: this.requestId,
    });
  }
}
