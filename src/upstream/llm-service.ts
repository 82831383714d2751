/**
 * Takes a config and a conversation, and emits the events of one answer, over the Anthropic SDK. Knows nothing of logs,
 * viewers or doors. Whatever upstream does, the last event is the one terminal event, and it holds usage and cost.
 */
import { createHmac } from 'node:crypto';
import Anthropic from '@anthropic-ai/sdk';
import type { Headers } from './address/headers.ts';
import type { UpstreamAddress } from './address/upstream-address.ts';
import type { Caller } from '../caller.ts';
import type { Config } from '../configs/configs.ts';
import { LlmError } from '../errors.ts';
import { iterate, type Sink } from '../flow/sink.ts';
import { laterTurn } from '../flow/turns.ts';
import type { LlmEvent, Message, TerminalEvent } from '../protocol.ts';
import type { GenerationTrace } from '../telemetry/generation-trace.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { AnswerRoom } from './answer-room.ts';
import type { AttemptOptions } from './attempt.ts';
import { Attempts } from './attempts.ts';
import { UpstreamSockets } from './http/sockets.ts';
import { Ledger } from './ledger.ts';
import { buildMessageRequest, headersOf } from './messages-api/request.ts';
import { wellFormedJson } from './messages-api/well-formed.ts';
import { cancelledOutcome, doneOutcome, errorOutcome } from './outcome.ts';
import { PreparedRequests, preparedRequestsMax } from './prepared-requests.ts';
import { defaultRetryTiming, type RetryTiming } from './retry.ts';
import { sendRequest, type SendOptions } from './send-request.ts';
import { Steps, type ToolAnswers } from './steps.ts';

export interface LlmServiceOptions {
  /** Called for each attempt, so that a key which was renewed is used. */
  readonly resolveUpstream: (config: Config) => UpstreamAddress;
  readonly telemetry?: Pick<Telemetry, 'upstreamAttempted' | 'upstreamAttemptFailed' | 'internalError'>;
  /** For tests, which can't wait for the default delays. */
  readonly retryTiming?: RetryTiming | undefined;
}

export interface LlmRequest {
  readonly config: Config;
  readonly messages: readonly Message[];
  /** Values for the variables of the prompt and of the fallbacks' prompts. The caller has checked them. */
  readonly variables: Readonly<Record<string, string>>;
  /** Who asks. By default nobody who has a name. */
  readonly caller?: Caller | undefined;
  /** Counts what is held of the answer before it is emitted. Without a bound by default. */
  readonly room?: AnswerRoom;
  /** Answers the calls of the config's tools. Absent: a call ends the answer. */
  readonly tools?: ToolAnswers | undefined;
  /** Makes the spans of the generation; absent where nothing is traced. */
  readonly trace?: GenerationTrace | undefined;
  /** When the generation began, on the clock of `performance.now()`; its timing counts from here. Now, by default. */
  readonly startedAtMs?: number;
}

/** What the request of one step is made of. */
type StepRequest = Pick<LlmRequest, 'messages' | 'variables' | 'caller'> & { readonly steps?: Steps };

export class LLMService implements AsyncDisposable {
  readonly #options: LlmServiceOptions;
  readonly #sockets = new UpstreamSockets();
  readonly #prepared = new PreparedRequests(sdkHeadersFor);

  constructor(options: LlmServiceOptions) {
    this.#options = options;
  }

  isSimulated(config: Config): boolean {
    return this.#options.resolveUpstream(config).simulated;
  }

  /**
   * Prepares the requests of these configs, so that the first one of each doesn't have to. Never rejects: a request
   * that can't be prepared now fails when it is sent, with a reason.
   */
  async prepare(configs: readonly Config[]): Promise<void> {
    const prepared = configs.slice(0, preparedRequestsMax).map(async (config) => {
      await this.#prepared.for(this.#options.resolveUpstream(config), headersOf(config));
    });
    await Promise.allSettled(prepared);
  }

  /** The same events as `pipe`, as an iterable of batches. Leaving the iteration early closes upstream's socket too. */
  stream(request: LlmRequest, signal: AbortSignal): AsyncGenerator<LlmEvent[], void, undefined> {
    const left = new AbortController();
    const either = AbortSignal.any([signal, left.signal]);
    return iterate(
      (sink) => this.pipe(request, either, sink),
      () => left.abort(),
    );
  }

  /**
   * Hands the sink one batch of events for each read from upstream, no faster than the sink takes them, and at the end
   * the terminal event alone. `start` is not among them. Settles when upstream's socket is closed or kept for reuse.
   * Where the sink throws, the generation ends as `internal`; the promise rejects only where the sink throws at the
   * terminal event.
   *
   * When the signal aborts, upstream's socket is closed at once and then `cancelled` is emitted, with the signal's
   * reason where that is a `CancelReason`.
   */
  async pipe(request: LlmRequest, signal: AbortSignal, sink: Sink<LlmEvent[]>): Promise<void> {
    const { telemetry, retryTiming = defaultRetryTiming } = this.#options;
    const { config, room = new AnswerRoom(), startedAtMs = performance.now() } = request;
    const ledger = new Ledger(startedAtMs);
    const { messages, variables, caller, tools, trace } = request;
    const steps = new Steps({ messages, tools, room, ledger, signal });
    const ofStep = () => ({ messages: steps.messages, variables, caller, steps });
    const attempts = new Attempts({
      config,
      room,
      ledger,
      retryTiming,
      signal,
      // First what the step keeps, which knows the limits.
      contentFor: (of) => steps.contentFor(of),
      senderFor: (of, freshSocket, traceHeaders) => this.#senderFor(of, ofStep(), { freshSocket, traceHeaders }),
      chatSpan: trace && ((of) => trace.chat(of, steps.messages)),
      secretTexts: (of) => this.#secretTexts(of, ofStep()),
      onFailure: (failed) => telemetry?.upstreamAttemptFailed(failed),
      onAttempt: (of, code) => telemetry?.upstreamAttempted(of, code),
    });
    let terminal: TerminalEvent;
    try {
      await steps.pipe(attempts, sink);
      terminal = { ...(await this.#outcome(steps, attempts, variables, signal)), ...ledger.account(attempts.config) };
    } catch (error) {
      const thrown = LlmError.from(error);
      if (thrown.code === 'internal') telemetry?.internalError('llm-service', error);
      terminal = { ...errorOutcome(thrown), ...ledger.account(attempts.config) };
    } finally {
      attempts[Symbol.dispose]();
    }
    // The sink has the whole answer; its terminal event may wait until the tokens of other answers have passed.
    await laterTurn();
    try {
      await sink([terminal]);
    } finally {
      await attempts.close();
    }
  }

  /** To be called after all generations have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#sockets[Symbol.dispose]();
  }

  /** Builds the request at once; the function that is returned sends it. */
  #senderFor(
    config: Config,
    { messages, variables, caller, steps }: StepRequest,
    sending: Pick<SendOptions, 'freshSocket' | 'traceHeaders'>,
  ): AttemptOptions['send'] {
    const address = this.#options.resolveUpstream(config);
    const { headers, body: built } = buildMessageRequest(config, messages, variables, {
      userId: () => userIdOf(caller, address),
      secret: address.secret,
    });
    const body = steps ? { ...built, ...steps.fieldsOver(built) } : built;
    return async (signal) => {
      const prepared = await this.#prepared.for(address, headers);
      const json = wellFormedJson(JSON.stringify(body));
      return sendRequest(this.#sockets, prepared, json, { signal, ...sending });
    };
  }

  async #outcome(
    { final, count, limit, messages }: Steps,
    { config, failure }: Attempts,
    variables: StepRequest['variables'],
    signal: AbortSignal,
  ) {
    if (final) {
      const done = await doneOutcome(final, config, () => this.#secretTexts(config, { messages, variables }));
      return { ...done, steps: count, ...(limit === undefined ? {} : { limit }) };
    }
    return failure ? errorOutcome(failure) : cancelledOutcome(signal);
  }

  /** All texts of a request and of its address that upstream might quote and nobody else may read. */
  async #secretTexts(config: Config, { messages, variables }: StepRequest): Promise<string[]> {
    const { baseUrl, apiKey = '', headers = {}, secret } = this.#options.resolveUpstream(config);
    const contents = messages.map(({ content }) => (typeof content === 'string' ? content : JSON.stringify(content)));
    const prompt = config.prompt.render(variables);
    const servers = (config.mcpServers ?? []).flatMap(({ url, token_env: variable }) => [
      url,
      (variable !== undefined && secret?.(variable)) || '',
    ]);
    const descriptions = (config.tools?.body ?? []).map((tool) =>
      'description' in tool ? String(tool.description) : '',
    );
    return [await baseUrl, apiKey, ...Object.values(headers), ...servers, prompt, ...descriptions, ...contents];
  }
}

/** The same for each request of a caller, as long as the key for upstream is the same. Nobody can read the name from it. */
function userIdOf({ name }: Caller = { name: '' }, { apiKey = '' }: UpstreamAddress): string {
  return createHmac('sha256', apiKey).update(name).digest('hex');
}

/**
 * The headers that are taken from the SDK. It takes others from the environment and from files, or the service sets
 * them.
 */
const sdkHeaders = /^(?:accept|content-type|user-agent|x-stainless-[a-z-]+)$/;

async function sdkHeadersFor(url: string): Promise<Headers> {
  // A placeholder, since each request sets the real key. Without one the SDK would search the environment and files for a key.
  const client = new Anthropic({ baseURL: url, apiKey: 'sent-per-request', logLevel: 'off', openTelemetry: false });
  const { req } = await client.buildRequest({ method: 'post', path: url, body: {}, stream: true });
  return Object.fromEntries([...req.headers].filter(([name]) => sdkHeaders.test(name)));
}
