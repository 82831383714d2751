/**
 * A config and a conversation in, the events of one answer out, over the Anthropic SDK. Knows nothing of logs, viewers or
 * doors. Whatever upstream does, there is exactly one terminal event, it comes last, and usage and cost are in it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import { messagesUrl } from './address/base-url.ts';
import type { ApiKeyHeader, Headers } from './address/headers.ts';
import { proxyFor, type Proxies } from './address/proxies.ts';
import type { Config } from '../configs/configs.ts';
import { LlmError } from '../errors.ts';
import type { CancelReason, LlmEvent, Message, TerminalEvent } from '../protocol.ts';
import { iterate, type Sink } from '../flow/sink.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { laterTurn } from '../flow/turns.ts';
import { AnswerRoom } from './answer-room.ts';
import { Attempt, type SuccessfulResponse } from './attempt.ts';
import { parseShouldRetry, UpstreamFailure, FailureCause } from './failures.ts';
import { Ledger } from './ledger.ts';
import type { MessageReader } from './messages-api/message-reader.ts';
import { headerOf, refusalOf } from './refusal.ts';
import { buildMessageRequest, headersOf } from './messages-api/request.ts';
import { defaultRetryTiming, RetryPlan, type RetryTiming, type NextAttempt } from './retry.ts';
import { ownWord, withoutRequest } from './upstream-words.ts';
import { prepareRequest, readRefusal, UpstreamSockets, type PreparedRequest } from './http/sockets.ts';
import { Watchdog, type TimeoutName } from './watchdog.ts';
import { wellFormedJson } from './messages-api/well-formed.ts';

/** Where a config's requests go, and what goes with them. */
export interface UpstreamAddress {
  /** As `isBaseUrl` has it: `https://api.anthropic.com`. A promise where a server is only now being started. */
  readonly baseUrl: string | Promise<string>;
  /** `/v1/messages` unless given. */
  readonly messagesPath?: string | undefined;
  /** No credential is sent without it. */
  readonly apiKey?: string | undefined;
  /** `authorization`, which carries the key as a bearer token, unless given. */
  readonly apiKeyHeader?: ApiKeyHeader | undefined;
  /** Sent with each request, over what the service sends by itself. Values are secrets. */
  readonly headers?: Headers;
  /** None unless given. */
  readonly proxies?: Proxies;
  /** Whether the built-in simulator answers there. */
  readonly simulated: boolean;
}

export interface LlmServiceOptions {
  /** Asked anew for each attempt. */
  readonly resolveUpstream: (config: Config) => UpstreamAddress;
  readonly telemetry?: Pick<Telemetry, 'upstreamAttemptFailed' | 'internalError'>;
  /** For tests, which can't wait. */
  readonly retryTiming?: RetryTiming | undefined;
}

export interface LlmRequest {
  readonly config: Config;
  readonly messages: readonly Message[];
  /** Values for the prompt's variables, and for those of its fallbacks; checked before. */
  readonly variables: Readonly<Record<string, string>>;
  /** For what is held of the answer until it is told; without a bound unless given. */
  readonly room?: AnswerRoom;
  /** What timing counts from, on the clock of `performance.now()`; now, unless given. */
  readonly startedAtMs?: number;
}

/** Those of the Messages API. */
const stopReasons: ReadonlySet<string> = new Set([
  'end_turn',
  'max_tokens',
  'stop_sequence',
  'tool_use',
  'pause_turn',
  'refusal',
  'compaction',
  'model_context_window_exceeded',
]);
/** Requests are kept prepared for this many addresses and keys. */
const requestsMax = 100;

export class LLMService implements AsyncDisposable {
  readonly #options: LlmServiceOptions;
  readonly #sockets = new UpstreamSockets();
  readonly #requests = new Map<string, Promise<PreparedRequest>>();

  constructor(options: LlmServiceOptions) {
    this.#options = options;
  }

  isSimulated(config: Config): boolean {
    return this.#options.resolveUpstream(config).simulated;
  }

  /** Does ahead what the first requests of these configs would have to. Never rejects: what is wrong is those requests' to tell. */
  async prepare(configs: readonly Config[]): Promise<void> {
    const prepared = configs.slice(0, requestsMax).map(async (config) => {
      await this.#prepared(this.#options.resolveUpstream(config), headersOf(config));
    });
    await Promise.allSettled(prepared);
  }

  /** As `pipe`, for whoever pulls. Leaving the iteration early closes upstream's socket too. */
  stream(request: LlmRequest, signal: AbortSignal): AsyncGenerator<LlmEvent[], void, undefined> {
    const left = new AbortController();
    const either = AbortSignal.any([signal, left.signal]);
    return iterate(
      (sink) => this.pipe(request, either, sink),
      () => left.abort(),
    );
  }

  /**
   * Hands over a batch of events for each read from upstream, as fast as they are taken and no faster, and in the end the
   * terminal event on its own. `start` is not among them. Settles when upstream's socket is closed too. A sink that throws
   * ends it as `internal`; only what it throws at the terminal event is thrown from here.
   *
   * An abort ends it as `cancelled`, with the signal's reason where that is a `CancelReason`; upstream's socket is closed
   * at once, and before that event is told.
   */
  async pipe(request: LlmRequest, signal: AbortSignal, sink: Sink<LlmEvent[]>): Promise<void> {
    const { telemetry, retryTiming = defaultRetryTiming } = this.#options;
    const ledger = new Ledger(request.startedAtMs ?? performance.now());
    const plan = new RetryPlan(request.config, retryTiming, performance.now());
    let config = request.config;
    let attempt: Attempt | undefined;
    let failure: UpstreamFailure | undefined;
    let terminal: TerminalEvent;
    // Both reach an attempt also while the sink is busy, so that one which is stuck can't keep upstream's socket.
    const watchdog = new Watchdog(config.timeouts.totalMs, (name) => attempt?.stop(timeoutFailure(name, attempt)));
    const abort = () => attempt?.stop();
    signal.addEventListener('abort', abort, { once: true });
    try {
      // What is to be tried next; undefined once nothing is.
      let next: NextAttempt | undefined = { config, delayMs: 0 };
      for (let number = 1; next && !signal.aborted; number += 1) {
        config = next.config;
        // Where one kept socket was closed, the others most likely are.
        attempt = this.#attempt(config, request, watchdog, attempt?.failure?.onKeptSocket);
        if (watchdog.expired) attempt.stop(timeoutFailure('total_ms', attempt));
        try {
          await attempt.pipe(sink);
        } finally {
          // A complete message is told first: its socket can take a moment until it is fit for reuse.
          if (!attempt.message.complete) await attempt.close();
          ledger.output(attempt.outputAtMs);
          if (attempt.usage) ledger.add(config, attempt.usage);
        }
        if (!attempt.failure) break;
        const texts = attempt.failure.holdsWords ? await this.#textsOf(config, request) : [];
        failure = attempt.failure.inWordsOf((word) => ownWord(word, texts));
        next = attempt.message.hasOutput ? undefined : plan.after(failure, performance.now(), watchdog.totalAtMs);
        const { name, model } = config;
        const retry = next ? { retryInMs: next.delayMs } : {};
        const said = failure.said === undefined ? undefined : withoutRequest(failure.said, texts);
        telemetry?.upstreamAttemptFailed({ config: name, model, attempt: number, error: failure, said, ...retry });
        if (next && next.delayMs > 0) await delay(next.delayMs, undefined, { signal }).catch(() => {});
      }
      const outcome = attempt?.message.complete
        ? await this.#done(attempt.message, config, request)
        : outcomeOf(next === undefined ? failure : undefined, signal);
      terminal = { ...outcome, ...ledger.account(config) };
    } catch (error) {
      const thrown = LlmError.from(error);
      if (thrown.code === 'internal') telemetry?.internalError('llm-service', error);
      terminal = { type: 'error', ...failureData(thrown), ...ledger.account(config) };
    } finally {
      watchdog[Symbol.dispose]();
      signal.removeEventListener('abort', abort);
    }
    // All of the answer is told; its end has time.
    await laterTurn();
    try {
      await sink([terminal]);
    } finally {
      await attempt?.close();
    }
  }

  /** To be called after all generations have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#sockets[Symbol.dispose]();
  }

  #attempt(
    config: Config,
    { messages, variables, room = new AnswerRoom() }: LlmRequest,
    watchdog: Watchdog,
    freshSocket?: boolean,
  ): Attempt {
    const { headers, body } = buildMessageRequest(config, messages, variables);
    const address = this.#options.resolveUpstream(config);
    return new Attempt({
      watchdog,
      timeouts: config.timeouts,
      showThinking: config.thinking?.show === true,
      room,
      send: async (signal): Promise<SuccessfulResponse> => {
        const prepared = await this.#prepared(address, headers);
        const json = wellFormedJson(JSON.stringify(body));
        const response = await this.#sockets.send(prepared, json, signal, freshSocket).catch((error: unknown) => {
          if (!(error instanceof FailureCause)) throw error;
          const retry = error.code === 'proxy_refused' ? false : undefined;
          throw new UpstreamFailure('upstream_unreachable', { cause: error, maybeBilled: error.sent, retry });
        });
        const requestId = headerOf(response, 'request-id');
        if (response.status < 200 || response.status >= 300)
          throw refusalOf(response, await readRefusal(response.body, signal), prepared);
        if (response.unknownEncoding !== undefined) {
          await response.body.close();
          const facts = { code: 'content_encoding_unknown', type: response.unknownEncoding };
          const cause = new FailureCause('the content-encoding of the answer is not known', facts);
          throw new UpstreamFailure('upstream_error', { cause, requestId, retry: false });
        }
        return {
          contentType: response.headers['content-type'] ?? null,
          requestId,
          shouldRetry: parseShouldRetry(headerOf(response, 'x-should-retry')),
          body: response.body,
        };
      },
    });
  }

  /** A reason to stop that the API doesn't have may be anything; the stop sequence is one of the config's. */
  async #done({ stopReason, stopSequence, stopDetails }: MessageReader, config: Config, request: LlmRequest) {
    const known = stopReason === null || stopReasons.has(stopReason);
    return {
      type: 'done' as const,
      stopReason: known ? stopReason : (ownWord(stopReason, await this.#textsOf(config, request)) ?? null),
      ...(stopSequence !== undefined && config.stopSequences?.includes(stopSequence) ? { stopSequence } : {}),
      ...(stopDetails === undefined ? {} : { stopDetails }),
    };
  }

  /** All texts of a request, and of what goes with it, that upstream may quote and that are not for others to read. */
  async #textsOf(config: Config, request: LlmRequest): Promise<string[]> {
    const { baseUrl, apiKey = '', headers = {} } = this.#options.resolveUpstream(config);
    const contents = request.messages.map(({ content }) =>
      typeof content === 'string' ? content : JSON.stringify(content),
    );
    const prompt = config.prompt.render(request.variables);
    return [await baseUrl, apiKey, ...Object.values(headers), prompt, ...contents];
  }

  /**
   * The request that the SDK makes for this address, but for its body. Made once, since it is the same each time, and takes
   * the SDK longer than all that is left for us to do.
   */
  async #prepared(address: UpstreamAddress, parameterHeaders: Headers): Promise<PreparedRequest> {
    const { messagesPath, apiKey, apiKeyHeader, proxies } = address;
    const url = messagesUrl(await address.baseUrl, messagesPath);
    const proxy = proxies && proxyFor(new URL(url), proxies);
    const headers = { ...parameterHeaders, ...keyHeader(apiKey, apiKeyHeader), ...address.headers };
    const key = JSON.stringify([url, headers, proxy?.href]);
    let prepared = this.#requests.get(key);
    if (!prepared) {
      prepared = prepare(url, headers, proxy);
      const oldest = this.#requests.keys().next();
      if (this.#requests.size >= requestsMax && !oldest.done) this.#requests.delete(oldest.value);
      this.#requests.set(key, prepared);
      prepared.catch(() => this.#requests.delete(key));
    }
    return prepared;
  }
}

/** Of what the SDK would send, the rest comes from the environment, from files of the user's, or is ours to say. */
const sdkHeaders = /^(?:accept|content-type|user-agent|x-stainless-[a-z-]+)$/;

async function prepare(url: string, headers: Headers, proxy: URL | undefined): Promise<PreparedRequest> {
  // The key goes with the request. Without one here, the SDK would look for credentials all over the machine.
  const client = new Anthropic({ baseURL: url, apiKey: 'sent-per-request', logLevel: 'off', openTelemetry: false });
  const { req } = await client.buildRequest({ method: 'post', path: url, body: {}, stream: true });
  const built = Object.fromEntries([...req.headers].filter(([name]) => sdkHeaders.test(name)));
  return prepareRequest(url, { ...built, ...headers }, proxy);
}

function keyHeader(apiKey: string | undefined, name: ApiKeyHeader = 'authorization'): Headers {
  if (apiKey === undefined) return {};
  return { [name]: name === 'authorization' ? `Bearer ${apiKey}` : apiKey };
}

/** How a message that is not complete ended: with the failure of the last attempt, if that is what ended it. */
function outcomeOf(failure: UpstreamFailure | undefined, signal: AbortSignal) {
  if (failure) return { type: 'error' as const, ...failureData(failure) };
  return { type: 'cancelled' as const, reason: cancelReason(signal) };
}

function timeoutFailure(name: TimeoutName, { requestId }: Attempt): UpstreamFailure {
  return new UpstreamFailure('upstream_timeout', {
    message: `The model provider took longer than ${name} allows`,
    cause: new FailureCause('a wait was too long', { code: name }),
    requestId,
    final: name === 'total_ms',
  });
}

function failureData(error: LlmError) {
  const { issues: _issues, ...data } = error.data;
  return { ...data, ...(error.requestId === undefined ? {} : { requestId: error.requestId }) };
}

function cancelReason({ reason }: AbortSignal): CancelReason {
  return reason === 'disconnected' || reason === 'shutdown' ? reason : 'requested';
}
