/**
 * Answers the calls of tools that are the client's, by the handlers that the app passes. Each call is answered once for each run,
 * however many iterations see it. Where two clients answer the same call, the service takes the first.
 */
import type { CallAnswer, LlmEvent, ToolCallEvent } from '../protocol.ts';
import { LlmClientError } from './error.ts';

/** What a handler gets beside the input of the call. */
export interface ToolCallContext {
  /**
   * Aborts when the call needs no answer any more: another client has answered it, the answer has ended, or nobody iterates the run.
   * Whatever the handler returns or throws afterwards is dropped.
   */
  readonly signal: AbortSignal;
  /** Upstream's id of the call. */
  readonly callId: string;
}

/** Answers the calls of one tool. What it throws is the call's error, and its message reaches the model. */
export type ToolHandler<Input = unknown, Output = unknown> = (
  input: Input,
  context: ToolCallContext,
) => Output | Promise<Output>;

/** The handlers for those tools of a config that are the client's. Each may be left out: then somebody else answers. */
export type ToolHandlers<Tools> = [ClientTools<Tools>] extends [never]
  ? NoHandlers
  : {
      readonly [Name in keyof Tools as Name & ClientTools<Tools>]?: Tools[Name] extends {
        readonly input: infer Input;
        readonly output: infer Output;
      }
        ? ToolHandler<Input, Output>
        : never;
    };

/** The names of the tools that a client answers, or may answer. */
export type ClientTools<Tools> = Tools extends unknown
  ? { [Name in keyof Tools]: Tools[Name] extends { readonly by: 'service' } ? never : Name }[keyof Tools]
  : never;

/** The handlers for a config that has no tools of the client's: none. */
export interface NoHandlers {
  readonly [noHandler]?: never;
}
declare const noHandler: unique symbol;

/** Ends an iteration with an error. */
type Fail = (error: LlmClientError) => void;

interface Call {
  readonly abort: AbortController;
  /** Whether the service has been sent an answer. Nothing sends it a second one. */
  sent: boolean;
}

export class ToolAnswers {
  readonly #handlers: Readonly<Record<string, ToolHandler>>;
  readonly #send: (answer: CallAnswer) => Promise<unknown>;
  /** By id. */
  readonly #calls = new Map<string, Call>();
  #iterations = 0;

  /** @param send Sends an answer to the service. */
  constructor(handlers: Readonly<Record<string, ToolHandler>>, send: (answer: CallAnswer) => Promise<unknown>) {
    this.#handlers = handlers;
    this.#send = send;
  }

  /** An iteration has begun. The returned function ends it; the last one to end aborts the calls that are not answered. */
  enter(): () => void {
    this.#iterations += 1;
    return () => {
      this.#iterations -= 1;
      if (this.#iterations > 0) return;
      for (const [id, { abort, sent }] of this.#calls) {
        if (sent) continue;
        abort.abort();
        // The next iteration may answer it.
        this.#calls.delete(id);
      }
    };
  }

  /** Takes an event when it arrives, however long it waits for its reader. */
  take(event: LlmEvent, fail: Fail): void {
    switch (event.type) {
      case 'tool_call':
        if (event.by === 'client' && Object.hasOwn(this.#handlers, event.name)) void this.#answer(event, fail);
        break;
      case 'tool_result':
        this.#calls.get(event.id)?.abort.abort();
        break;
      case 'done':
      case 'cancelled':
      case 'error':
        for (const { abort } of this.#calls.values()) abort.abort();
        break;
      default:
        break;
    }
  }

  async #answer({ id, name, input }: ToolCallEvent, fail: Fail): Promise<void> {
    if (this.#calls.has(id)) return;
    const call: Call = { abort: new AbortController(), sent: false };
    const { signal } = call.abort;
    this.#calls.set(id, call);
    // Where the events are read again, the result comes right behind the call. Nobody shall be asked a second time then.
    await new Promise((resolve) => setTimeout(resolve));
    if (signal.aborted) return;
    const answer = await answerOf(id, () => this.#handlers[name]!(input, { signal, callId: id }));
    if (signal.aborted) return;
    call.sent = true;
    try {
      await this.#send(answer);
    } catch (thrown) {
      const error = LlmClientError.from(thrown);
      // A conflict: another client was first.
      if (error.code !== 'conflict' && !signal.aborted) fail(error);
    }
  }
}

/** Characters of an error that the service takes. */
const errorCharsMax = 4_000;

async function answerOf(id: string, handle: () => unknown): Promise<CallAnswer> {
  try {
    const output = await handle();
    return { id, output: output === undefined ? null : output };
  } catch (error) {
    const words = (error instanceof Error && error.message) || String(error);
    return { id, error: words.slice(0, errorCharsMax) };
  }
}
