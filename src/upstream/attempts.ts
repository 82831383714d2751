/**
 * All attempts of one generation, one after the other: the first one, retries and fallbacks. They stop when a message
 * is complete, when a failure can't be retried, when output was seen before a failure, when time is up, or when the
 * generation is cancelled. After a complete message `pipeNext` makes those of the next step. Knows nothing of terminal
 * events.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { outputTool } from '../configs/config-keys.ts';
import type { Config } from '../configs/configs.ts';
import { LlmError } from '../errors.ts';
import type { Sink } from '../flow/sink.ts';
import type { LlmEvent } from '../protocol.ts';
import type { AnswerRoom } from './answer-room.ts';
import { Attempt, type AttemptOptions } from './attempt.ts';
import { FailureCause, UpstreamFailure } from './failures.ts';
import type { Ledger } from './ledger.ts';
import type { MessageReader } from './messages-api/message-reader.ts';
import type { StepContent } from './messages-api/step-content.ts';
import { RetryPlan, type NextAttempt, type RetryTiming } from './retry.ts';
import type { ChatResult, ChatSpan } from '../telemetry/generation-trace.ts';
import type { AttemptCode } from '../telemetry/metrics.ts';
import type { AttemptFailure } from '../telemetry/telemetry.ts';
import { cancelledOutcome, plainFactsOf } from './outcome.ts';
import { ownWord, withoutRequest } from './upstream-words.ts';
import type { AttemptUsage } from './usage.ts';
import { Watchdog, type TimeoutName } from './watchdog.ts';

export interface AttemptsOptions {
  /** The config of the first attempt. Its `total_ms` bounds all attempts together. */
  readonly config: Config;
  readonly room: AnswerRoom;
  readonly ledger: Ledger;
  readonly retryTiming: RetryTiming;
  /** When it aborts, the attempt that runs stops at once, and no other begins. */
  readonly signal: AbortSignal;
  /** Makes the function that sends an attempt's request. Called for each attempt. */
  readonly senderFor: (
    config: Config,
    freshSocket: boolean,
    traceHeaders?: ChatSpan['headers'],
  ) => AttemptOptions['send'];
  /** Begins the span of a message; undefined where nothing is traced. */
  readonly chatSpan?: ((config: Config) => ChatSpan) | undefined;
  /** Makes what keeps the message of an attempt; undefined where no step may follow. */
  readonly contentFor?: ((config: Config) => StepContent | undefined) | undefined;
  /** Resolves to all texts of a request with this config that upstream might quote and nobody else may read. */
  readonly secretTexts: (config: Config) => Promise<readonly string[]>;
  readonly onFailure: (failed: AttemptFailure) => void;
  /** Called for each attempt when it is over, before `onFailure`. */
  readonly onAttempt: (config: string, code: AttemptCode) => void;
}

/** Dispose it to stop its timer. */
export class Attempts implements Disposable {
  readonly #options: AttemptsOptions;
  #plan: RetryPlan;
  readonly #watchdog: Watchdog;
  #config: Config;
  #count = 0;
  #latest: Attempt | undefined;
  /** What the latest attempt used. */
  #usage: AttemptUsage | undefined;
  /** The failure of the latest attempt, without any words of the request. */
  #failure: UpstreamFailure | undefined;
  /** The attempt to be made next; undefined once a failure is final. */
  #next: NextAttempt | undefined;
  readonly #stop = (): void => this.#latest?.stop();
  #onExpired: (() => void) | undefined;
  /** The span of the message that is being written; undefined where nothing is traced. */
  #span: ChatSpan | undefined;

  constructor(options: AttemptsOptions) {
    const { config, retryTiming, signal } = options;
    this.#options = options;
    this.#config = config;
    this.#next = { config, delayMs: 0 };
    this.#plan = new RetryPlan(config, retryTiming, performance.now());
    // The watchdog and the signal stop an attempt also while the sink is busy: a sink that is stuck must not keep
    // upstream's socket open.
    this.#watchdog = new Watchdog(config.timeouts.totalMs, (name) => this.#timeOut(name));
    signal.addEventListener('abort', this.#stop, { once: true });
  }

  /** The config of the latest attempt. */
  get config(): Config {
    return this.#config;
  }

  /** The message of the latest attempt, if it is complete. */
  get message(): MessageReader | undefined {
    return this.#latest?.message.complete ? this.#latest.message : undefined;
  }

  /** The failure that ended the generation; undefined while another attempt could still be made. */
  get failure(): UpstreamFailure | undefined {
    return this.#next === undefined ? this.#failure : undefined;
  }

  /**
   * Makes the attempts of another step, after a complete message. The config stays the one that has answered: another
   * model would go on with thinking that isn't its own.
   */
  async pipeNext(sink: Sink<LlmEvent[]>): Promise<void> {
    this.#plan = new RetryPlan(this.#config, this.#options.retryTiming, performance.now(), false);
    this.#next = { config: this.#config, delayMs: 0 };
    await this.pipe(sink);
  }

  /**
   * Sees to the generation's time between two steps.
   *
   * @param onExpired Called when the time is up. The next step then fails at once.
   * @returns What makes that time stand still, and go on; and what ends the watch.
   */
  betweenSteps(onExpired: () => void): Pick<Watchdog, 'pause' | 'resume'> & Disposable {
    this.#watchdog.expectNothing();
    this.#onExpired = onExpired;
    if (this.#watchdog.expired) onExpired();
    return {
      pause: () => this.#watchdog.pause(),
      resume: () => this.#watchdog.resume(),
      [Symbol.dispose]: () => {
        this.#watchdog.resume();
        this.#onExpired = undefined;
      },
    };
  }

  /** Makes the attempts, and hands the events of each read to the sink. Rejects with what the sink throws. */
  pipe(sink: Sink<LlmEvent[]>): Promise<void> {
    const { chatSpan } = this.#options;
    return chatSpan ? this.#trace(chatSpan, sink) : this.#pipe(sink);
  }

  /** One span for all attempts of a message. */
  async #trace(chatSpan: (config: Config) => ChatSpan, sink: Sink<LlmEvent[]>): Promise<void> {
    if (!this.#next || this.#options.signal.aborted) return;
    const span = (this.#span = chatSpan(this.#next.config));
    try {
      await this.#pipe(span.keepText(sink));
      span.end(this.#result());
    } catch (error) {
      span.end({ error: LlmError.from(error).code });
      throw error;
    } finally {
      this.#span = undefined;
    }
  }

  /** How the message ended, for its span. */
  #result(): ChatResult {
    const usage = this.#usage?.usage;
    const { message } = this;
    if (message) return { ...plainFactsOf(message, this.#config), usage };
    if (this.failure) return { error: this.failure.code, usage };
    return { cancelled: cancelledOutcome(this.#options.signal).reason, usage };
  }

  async #pipe(sink: Sink<LlmEvent[]>): Promise<void> {
    while (this.#next && !this.#options.signal.aborted) {
      const attempt = this.#begin(this.#next.config);
      await this.#run(attempt, sink);
      if (!attempt.failure) return;
      await this.#decide(attempt, attempt.failure);
      await this.#wait();
    }
  }

  /** Settles when the socket of the latest attempt is closed, or kept for another request. */
  async close(): Promise<void> {
    await this.#latest?.close();
  }

  [Symbol.dispose](): void {
    this.#watchdog[Symbol.dispose]();
    this.#options.signal.removeEventListener('abort', this.#stop);
  }

  #begin(config: Config): Attempt {
    const { room, senderFor } = this.#options;
    // Upstream closed a kept socket under the latest attempt, so it has most likely closed the other kept ones too.
    const freshSocket = this.#latest?.failure?.onKeptSocket ?? false;
    this.#config = config;
    this.#count += 1;
    this.#latest = new Attempt({
      watchdog: this.#watchdog,
      timeouts: config.timeouts,
      showThinking: Boolean(config.thinking?.show),
      ...(config.output ? { output: config.outputMode === 'tool' ? { tool: outputTool.name } : {} } : {}),
      room,
      step: this.#options.contentFor?.(config),
      send: senderFor(config, freshSocket, this.#span?.headers),
    });
    if (this.#watchdog.expired) this.#timeOut('total_ms');
    return this.#latest;
  }

  async #run(attempt: Attempt, sink: Sink<LlmEvent[]>): Promise<void> {
    const { ledger, onAttempt } = this.#options;
    try {
      await attempt.pipe(sink);
    } finally {
      // After a complete message the socket can take a moment until it can be reused, so that its events go first.
      if (!attempt.message.complete) await attempt.close();
      ledger.output(attempt.outputAtMs);
      const { usage } = attempt;
      this.#usage = usage;
      if (usage) ledger.add(this.#config, usage);
      if (attempt.outputAtMs !== undefined) this.#span?.firstToken(attempt.outputAtMs);
      onAttempt(this.#config.name, codeOf(attempt));
    }
  }

  /** Decides what to try after a failure, and reports the failure. */
  async #decide(attempt: Attempt, failure: UpstreamFailure): Promise<void> {
    const { secretTexts, onFailure } = this.#options;
    const texts = failure.holdsWords ? await secretTexts(this.#config) : [];
    const error = failure.inWordsOf((word) => ownWord(word, texts));
    this.#failure = error;
    // A reader has seen the output of this attempt, and another attempt would write another answer.
    const next = attempt.message.hasOutput
      ? undefined
      : this.#plan.after(error, performance.now(), this.#watchdog.totalAtMs);
    this.#next = next;
    const { name: config, model } = this.#config;
    const said = error.said === undefined ? undefined : withoutRequest(error.said, texts);
    const { code, requestId } = error;
    this.#span?.failed({ attempt: this.#count, code, requestId, next }, this.#config);
    onFailure({ config, model, attempt: this.#count, error, said, ...(next ? { retryInMs: next.delayMs } : {}) });
  }

  async #wait(): Promise<void> {
    const delayMs = this.#next?.delayMs ?? 0;
    if (delayMs > 0) await delay(delayMs, undefined, { signal: this.#options.signal }).catch(() => {});
  }

  #timeOut(name: TimeoutName): void {
    if (name === 'total_ms') this.#onExpired?.();
    const attempt = this.#latest;
    attempt?.stop(
      new UpstreamFailure('upstream_timeout', {
        message: `The model provider took longer than ${name} allows`,
        cause: new FailureCause('a timeout of the config has passed', { code: name }),
        requestId: attempt.requestId,
        final: name === 'total_ms',
      }),
    );
  }
}

function codeOf({ failure, message }: Attempt): AttemptCode {
  return failure?.code ?? (message.complete ? 'ok' : 'cancelled');
}
