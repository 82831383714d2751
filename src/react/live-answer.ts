/**
 * One answer as state outside of React: what has arrived, and the connection over which more arrives. It asks when the first
 * listener comes, and leaves when the last one has gone. Knows nothing of components.
 *
 * One request is one generation, whatever happens to the components that show it: the id is made once, a later connection only
 * follows, and another client carries the same generation on.
 */
import type { CallAnswer, FollowRequest, LlmEvent, ResolveRequest, StreamRequest } from '../protocol.ts';
import { LlmClientError } from '../client/error.ts';
import type { ConnectionState, Run, RunOptions } from '../client/run.ts';
import type { ToolHandler } from '../client/tool-handlers.ts';
import { answer as fold, emptyAnswer, type Answer, type TrackedEvent } from './answer.ts';
import { FramePacer } from './frame-pacer.ts';

/** The part of a client that an answer needs. */
export interface AnswerClient {
  stream(request: StreamRequest, options: RunOptions): Run;
  follow(request: FollowRequest, options: RunOptions): Run;
  resolve(request: ResolveRequest): Promise<unknown>;
}

export type AnswerRequest = StreamRequest | FollowRequest;

export interface LiveAnswerOptions {
  readonly tools?: Readonly<Record<string, ToolHandler>> | undefined;
  readonly initial?: Answer | undefined;
  readonly onEvent?: ((event: LlmEvent) => void) | undefined;
}

/** What a component shows. It is another object each time something has changed. */
export interface Shown {
  readonly answer: Answer;
  readonly running: boolean;
  readonly connection: ConnectionState;
  readonly stopping: boolean;
}

export class LiveAnswer {
  /** What was asked. `reopen` doesn't change it. */
  readonly asked: AnswerRequest | undefined;
  /** Those of the last render: a handler sees the state of the component as it is now. */
  options: LiveAnswerOptions;
  readonly #listeners = new Set<() => void>();
  readonly #pacer = new FramePacer(() => this.#show());
  readonly #first: Shown;
  #client: AnswerClient | undefined;
  #request: AnswerRequest | undefined;
  #run: Run | undefined;
  /** Ends the connection that is open. */
  #reading: AbortController | undefined;
  #leaving: ReturnType<typeof setTimeout> | undefined;
  #answer: Answer;
  /** Events that `#answer` doesn't have yet: they wait for the next frame. */
  #arrived: TrackedEvent[] = [];
  #connection: ConnectionState = 'connecting';
  #stopping = false;
  #shown: Shown;

  constructor(request: AnswerRequest | undefined, options: LiveAnswerOptions = {}) {
    this.asked = request;
    this.options = options;
    this.#request = request;
    this.#answer = answerBefore(request, options.initial);
    this.#first = this.#shown = this.#next();
  }

  readonly get = (): Shown => this.#shown;

  /** What the server renders, and the browser before its first effect. */
  readonly getFirst = (): Shown => this.#first;

  /** Begins to read, unless it reads already. With another client it reads on over that one. */
  subscribe(client: AnswerClient, listener: () => void): () => void {
    this.#listeners.add(listener);
    clearTimeout(this.#leaving);
    if (client !== this.#client) this.#leave();
    this.#client = client;
    this.#read();
    return () => {
      this.#listeners.delete(listener);
      // React's StrictMode takes each component away once, and brings it back at once.
      if (this.#listeners.size === 0) this.#leaving = setTimeout(() => this.#leave());
    };
  }

  /** @throws LlmClientError where the service can't be reached. Then the answer goes on. */
  readonly stop = async (): Promise<void> => {
    if (!this.#run || !this.#shown.running) return;
    this.#setStopping(true);
    try {
      await this.#run.cancel();
    } catch (thrown) {
      this.#setStopping(false);
      throw LlmClientError.from(thrown);
    }
  };

  readonly reopen = (request?: FollowRequest): void => {
    const { terminal, error: _error, ...open } = this.#fold();
    const other = isFollow(request) && !isOf(open, request) ? request : undefined;
    if (other) {
      this.#leave();
      this.#request = other;
      this.#run = undefined;
      this.#answer = answerBefore(other, undefined);
    } else if (terminal || !this.#request) return;
    else this.#answer = { ...open, status: open.lastEventId === undefined ? 'waiting' : 'running' };
    this.#stopping = false;
    this.#show();
    this.#read();
  };

  /** @throws LlmClientError where the service takes no such answer, or can't be reached. */
  readonly resolve = async (answers: CallAnswer | readonly CallAnswer[]): Promise<void> => {
    const { generationId } = this.#answer;
    if (generationId === undefined || !this.#client) return;
    try {
      await this.#client.resolve({ generationId, results: [answers].flat() });
    } catch (thrown) {
      const error = LlmClientError.from(thrown);
      // Another client was first, or the answer has ended: its events say so.
      if (error.code !== 'conflict') throw error;
    }
  };

  #read(): void {
    if (this.#reading || !this.#client || !this.#request || this.#listeners.size === 0 || !isOpen(this.#answer)) return;
    const reading = (this.#reading = new AbortController());
    this.#connection = 'connecting';
    void this.#readOn(this.#client, this.#request, reading.signal).finally(() => {
      if (this.#reading === reading) this.#reading = undefined;
    });
    this.#show();
  }

  async #readOn(client: AnswerClient, request: AnswerRequest, signal: AbortSignal): Promise<void> {
    try {
      const run = (this.#run = this.#runOf(client, request, signal));
      if (run.generationId) this.#answer = { ...this.#answer, generationId: run.generationId };
      // Not by `for await`, which needs a Symbol.asyncIterator that React Native's engine may lack.
      const events = run[Symbol.asyncIterator]();
      for (let next = await events.next(); !next.done; next = await events.next()) {
        // What arrives after the end of this connection arrives on the next one, too.
        if (!signal.aborted) this.#take({ id: run.lastEventId!, data: next.value });
      }
      if (isOpen(this.#fold())) this.#end({ status: 'done' });
    } catch (thrown) {
      if (!signal.aborted) this.#fail(LlmClientError.from(thrown));
    }
  }

  /** The first run asks. All others follow the generation from the last event that has arrived. */
  #runOf(client: AnswerClient, request: AnswerRequest, signal: AbortSignal): Run {
    const tools = this.#handlers();
    const onConnection = (state: ConnectionState) => {
      if (!signal.aborted) this.#setConnection(state);
    };
    const options: RunOptions = { signal, onConnection, ...(tools && { tools }) };
    const { generationId = request.generationId, lastEventId } = this.#answer;
    if (generationId !== undefined && lastEventId !== undefined) {
      return client.follow({ generationId, lastEventId }, options);
    }
    if (!('config' in request)) return client.follow(request, options);
    return client.stream({ ...request, ...(generationId !== undefined && { generationId }) }, options);
  }

  /** Handlers that call those of the last render. */
  #handlers(): Readonly<Record<string, ToolHandler>> | undefined {
    const { tools } = this.options;
    if (!tools) return undefined;
    const call =
      (name: string): ToolHandler =>
      (input, context) =>
        (this.options.tools?.[name] ?? tools[name]!)(input, context);
    return Object.fromEntries(Object.keys(tools).map((name) => [name, call(name)]));
  }

  #take(event: TrackedEvent): void {
    this.#arrived.push(event);
    this.#connection = 'live';
    try {
      this.options.onEvent?.(event.data);
    } catch (error) {
      // A bug of the app, which belongs in its console, and doesn't end the answer.
      setTimeout(() => {
        throw error;
      });
    }
    const { type } = event.data;
    if (type === 'done' || type === 'cancelled' || type === 'error') this.#end({});
    else this.#pacer.request();
  }

  #fail({ code, message, retryable, retryAfterMs, issues }: LlmClientError): void {
    if (code === 'cancelled') return this.#end({ status: 'cancelled' });
    const more = { ...(retryAfterMs !== undefined && { retryAfterMs }), ...(issues && { issues }) };
    this.#end({ status: 'error', error: { code, message, retryable, ...more } });
  }

  #end(change: Partial<Answer>): void {
    this.#answer = { ...this.#fold(), ...change, pending: [] };
    this.#reading = undefined;
    this.#stopping = false;
    this.#show();
  }

  /** Closes the connection. What becomes of the generation is up to its config. */
  #leave(): void {
    this.#reading?.abort();
    this.#reading = undefined;
    // The next connection goes on after them.
    this.#fold();
  }

  #setConnection(state: ConnectionState): void {
    if (state === this.#connection) return;
    this.#connection = state;
    this.#show();
  }

  #setStopping(stopping: boolean): void {
    this.#stopping = stopping;
    this.#show();
  }

  #fold(): Answer {
    if (this.#arrived.length > 0) this.#answer = this.#withoutHandled(fold(this.#arrived.splice(0), this.#answer));
    return this.#answer;
  }

  /** Nobody is asked for what a handler answers. */
  #withoutHandled(answer: Answer): Answer {
    const { tools } = this.options;
    if (!tools || answer.pending.length === 0) return answer;
    const pending = answer.pending.filter(({ name, approval }) => approval || !Object.hasOwn(tools, name));
    return pending.length === answer.pending.length ? answer : { ...answer, pending };
  }

  #show(): void {
    this.#pacer.cancel();
    this.#fold();
    this.#shown = this.#next();
    for (const listener of this.#listeners) listener();
  }

  #next(): Shown {
    const [answer, running] = [this.#answer, isOpen(this.#answer)];
    return { answer, running, connection: this.#connection, stopping: this.#stopping };
  }
}

function isOpen({ status }: Answer): boolean {
  return status === 'waiting' || status === 'running';
}

/** False for the event that a button passes which has `reopen` as its handler. */
function isFollow(request: object | undefined): request is FollowRequest {
  return request !== undefined && ('generationId' in request || 'thread' in request);
}

/** Whether a request names the generation of this answer. */
function isOf({ generationId }: Answer, request: AnswerRequest): boolean {
  return generationId !== undefined && request.generationId?.toLowerCase() === generationId;
}

/** An answer that was kept goes on, unless it has ended. */
function answerBefore(request: AnswerRequest | undefined, initial: Answer | undefined): Answer {
  if (!request) return emptyAnswer;
  if (!initial || !isOf(initial, request)) {
    const generationId = request.generationId?.toLowerCase();
    return { ...emptyAnswer, status: 'waiting', ...(generationId !== undefined && { generationId }) };
  }
  const { error, ...kept } = initial;
  if (kept.terminal || kept.status === 'cancelled' || (error && !error.retryable)) return initial;
  return { ...kept, status: kept.lastEventId === undefined ? 'waiting' : 'running' };
}
