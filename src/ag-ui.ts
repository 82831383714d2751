/**
 * Answers for front ends that speak AG-UI: the events, and an agent over `createLlmClient`. The agent is made from the app's own
 * `AbstractAgent` and `Observable`, so this file has no dependency, and fits each version of `@ag-ui/client`.
 */
import type { AnyTRPCRouter } from '@trpc/server';
import { AgUiEncoder } from './adapters/ag-ui/encoder.ts';
import { readConversation, type AgUiContext, type AgUiMessage } from './adapters/ag-ui/messages.ts';
import { generationIdOf } from './adapters/ag-ui/run-id.ts';
import { LlmClientError } from './client/error.ts';
import type { ConfigsOf, InputFor, LlmClient } from './client/llm-client.ts';
import type { Procedures, Run, RunOptions } from './client/run.ts';
import type { FollowRequest, InputIssue, Message, StreamRequest } from './protocol.ts';

export type * from './adapters/ag-ui/ag-ui-event.ts';
export { toAgUiEvents, type AgUiIds } from './adapters/ag-ui/encoder.ts';
export type { AgUiContext, AgUiFunctionCall, AgUiMessage, AgUiToolCall } from './adapters/ag-ui/messages.ts';

/** What an agent needs of the app's packages. */
export interface AgUiParts<Base> {
  /** `AbstractAgent` of `@ag-ui/client`. */
  readonly AbstractAgent: Base;
  /** `Observable` of `rxjs`: of the copy that `@ag-ui/client` uses, or another one. */
  readonly Observable: new (subscribe: (subscriber: AgUiSubscriber) => () => void) => object;
}

/** The part of a subscriber of rxjs that an agent calls. */
export interface AgUiSubscriber {
  /** Takes an event. */
  next(event: never): void;
  /** Takes why there are no more. */
  error(error: unknown): void;
  /** Is called after the last event. */
  complete(): void;
}

/** Whatever class of agents an app has. */
export type AgUiAgentBase = abstract new (...args: never[]) => object;

/** What an agent is made of, besides what `AbstractAgent` takes: `threadId`, `initialMessages` and so on. */
export type LlmAgentOptions<TRouter extends AnyTRPCRouter, Name extends ConfigsOf<TRouter>> = {
  /** The client. It goes on with an answer by itself when a connection is lost. */
  readonly llm: LlmClient<TRouter>;
  /** The config that answers. */
  readonly config: Name;
} & Pick<InputFor<TRouter, Name>, 'variables' & keyof InputFor<TRouter, Name>>;

/**
 * A class of agents. A run is a generation, `runId` its id and `threadId` its thread. `abortRun()` stops the answer, `detachActiveRun()`
 * leaves it, and `connectAgent({ runId })` or, for the newest run of the thread, `connectAgent()` comes back to it.
 */
export interface LlmAgentClass<Base extends AgUiAgentBase> {
  /** An agent of one conversation, whose runs the config answers. */
  new <TRouter extends AnyTRPCRouter, const Name extends ConfigsOf<TRouter>>(
    options: LlmAgentOptions<TRouter, Name> & NonNullable<ConstructorParameters<Base>[0]>,
  ): InstanceType<Base>;
}

/** Makes a class of agents: `createLlmAgent({ AbstractAgent, Observable })`. */
export function createLlmAgent<Base extends AgUiAgentBase>(parts: AgUiParts<Base>): LlmAgentClass<Base> {
  const { Observable } = parts;
  const AbstractAgent = parts.AbstractAgent as unknown as typeof BaseAgent;
  /** The inputs of those who came back without naming a run: AG-UI makes an id for each of them. */
  const unnamed = new WeakSet<RunInput>();

  class LlmAgent extends AbstractAgent {
    // Plain fields: `clone()` makes an object without running this class's constructor, which has none that are private.
    llm: Llm;
    config: string;
    variables: Readonly<Record<string, string>> | undefined;
    /** Each stops one of the answers that are being read. */
    stops: Set<() => void>;

    constructor({ llm, config, variables, ...options }: AnyOptions) {
      super(options);
      this.llm = llm;
      this.config = config;
      this.variables = variables;
      this.stops = new Set();
    }

    override clone(): this {
      const { llm, config, variables } = this;
      return Object.assign(super.clone(), { llm, config, variables, stops: new Set<() => void>() });
    }

    override run(input: RunInput): object {
      return this.read(input, async (options) => {
        await this.checkTools(input);
        const messages = toMessages(input.messages, input.context);
        const { threadId: thread, runId } = input;
        const generationId = await generationIdOf(thread, runId);
        const { config, variables } = this;
        return this.llm.stream({ config, messages, variables, generationId, thread }, options);
      });
    }

    override connect(input: RunInput): object {
      const { threadId, runId } = input;
      if (unnamed.has(input)) {
        return this.read(input, (options) => this.llm.follow({ thread: threadId }, options), 'whatever runs');
      }
      const named = async (options: RunOptions) =>
        this.llm.follow({ generationId: await generationIdOf(threadId, runId) }, options);
      return this.read(input, named, 'this run');
    }

    override prepareRunAgentInput(parameters?: { readonly runId?: string }): RunInput {
      const input = super.prepareRunAgentInput(parameters);
      if (!parameters?.runId) unnamed.add(input);
      return input;
    }

    override abortRun(): void {
      for (const stop of this.stops) stop();
    }

    /** @param back What whoever comes back wants; undefined for a run that is started. */
    read(
      input: RunInput,
      begin: (options: RunOptions) => Run | Promise<Run>,
      back?: 'this run' | 'whatever runs',
    ): object {
      return new Observable((subscriber) => {
        const left = new AbortController();
        const fail = (error: unknown) => {
          if (!left.signal.aborted) subscriber.error(error);
        };
        const begun = (async () => begin({ signal: left.signal }))();
        const stop = () => void begun.then((run) => run.cancel()).catch(fail);
        this.stops.add(stop);
        const ids = back === 'whatever runs' ? { threadId: input.threadId } : input;
        void (async () => {
          const encoder = new AgUiEncoder(ids);
          for await (const event of await begun) {
            for (const each of encoder.encode(event)) {
              subscriber.next(each as never);
              if (back && each.type === 'RUN_STARTED' && event.type === 'start') {
                subscriber.next(snapshotWithout(event.generationId, input.messages) as never);
              }
            }
          }
          subscriber.complete();
        })()
          .catch((error: unknown) => {
            const { code, message } = LlmClientError.from(error);
            if (code === 'cancelled') subscriber.next({ type: 'RUN_ERROR', code: 'abort', message } as never);
            const isOver = code === 'cancelled' || (back === 'whatever runs' && code === 'generation_not_found');
            if (isOver) subscriber.complete();
            else fail(error);
          })
          .finally(() => this.stops.delete(stop));
        // Leaves the answer, which goes on as the config's `on_disconnect` says.
        return () => left.abort();
      });
    }

    /** Refuses tools that the config doesn't have. If they were ignored, it would look as if the model wouldn't call them. */
    async checkTools({ tools = [] }: RunInput): Promise<void> {
      if (tools.length === 0) return;
      const configs = await this.llm.trpc.llm.configs.query();
      const known = configs.find(({ name }) => name === this.config)?.clientTools ?? [];
      const issues = tools.flatMap(({ name }, at): InputIssue[] => {
        if (known.includes(name)) return [];
        const those = known.join(', ') || 'none';
        const message = `the config "${this.config}" has no tool "${name}" for clients; known are: ${those}`;
        return [{ path: `tools[${at}].name`, message }];
      });
      if (issues.length > 0) throw refusal(issues);
    }
  }
  return LlmAgent as unknown as LlmAgentClass<Base>;
}

/**
 * A conversation of AG-UI as the messages of a request. Calls without a result are left out, as upstream wants it.
 *
 * @param context Is put before the last message of the user, as text.
 * @throws LlmClientError `invalid_input` for what the Messages API has no form for, such as sound; `issues` says where it is.
 */
export function toMessages(messages: readonly AgUiMessage[], context: readonly AgUiContext[] = []): readonly Message[] {
  const read = readConversation(messages, context);
  if (read.issues.length > 0) throw refusal(read.issues);
  return read.messages;
}

function refusal(issues: readonly InputIssue[]): LlmClientError {
  const lines = issues.map(({ path, message }) => `${path}: ${message}`);
  return new LlmClientError('invalid_input', lines.join('; '), { issues });
}

/**
 * The conversation without what the agent has of this answer, since all of it follows. AG-UI keeps messages of thinking that a snapshot
 * leaves out, so those of this answer are in it without their text.
 */
function snapshotWithout(generationId: string, messages: readonly AgUiMessage[]) {
  const kept = messages.flatMap((message) => {
    if (!message.id?.startsWith(generationId)) return [message];
    return message.role === 'reasoning' ? [{ ...message, content: '' }] : [];
  });
  return { type: 'MESSAGES_SNAPSHOT', messages: kept };
}

/** The part of `AbstractAgent` that the agent relies on, in each version. */
declare abstract class BaseAgent {
  constructor(options: object);
  clone(): this;
  abstract run(input: RunInput): object;
  connect(input: RunInput): object;
  prepareRunAgentInput(parameters?: { readonly runId?: string }): RunInput;
  abortRun(): void;
}

interface RunInput {
  readonly threadId: string;
  readonly runId: string;
  readonly messages: readonly AgUiMessage[];
  readonly tools?: readonly { readonly name: string }[];
  readonly context?: readonly AgUiContext[];
}

interface AnyOptions {
  readonly llm: Llm;
  readonly config: string;
  readonly variables?: Readonly<Record<string, string>>;
}

/** The client, for whichever config. */
interface Llm {
  readonly trpc: { readonly llm: Procedures };
  stream(request: StreamRequest, options: RunOptions): Run;
  follow(request: FollowRequest, options: RunOptions): Run;
}
