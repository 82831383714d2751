/**
 * The steps of one answer. In each the model writes one message. Where it calls tools, their results go into the request of the
 * next step; where upstream has paused, the next request repeats what it has said. A request begins with all of the one before:
 * upstream's cache holds that, and binds thinking to it. Knows nothing of how tools are executed.
 */
import type { Config } from '../configs/configs.ts';
import type { Sink } from '../flow/sink.ts';
import type { AnswerLimit, ContentBlock, LlmEvent, Message } from '../protocol.ts';
import type { ToolUse } from '../tools/tool-set.ts';
import { bytesOf, type AnswerRoom } from './answer-room.ts';
import type { Attempts } from './attempts.ts';
import type { Ledger } from './ledger.ts';
import type { MessageReader } from './messages-api/message-reader.ts';
import { StepContent } from './messages-api/step-content.ts';

/** What whoever answers calls may do between two steps. */
export interface BetweenSteps {
  /** Aborts when the generation is cancelled, and when its time is up. */
  readonly signal: AbortSignal;
  /** Emits events, in the order of the calls. Settles when there is room for more. */
  readonly emit: (events: readonly LlmEvent[]) => Promise<void>;
  /** The generation's `total_ms` stands still until `resume`. */
  readonly pause: () => void;
  readonly resume: () => void;
}

/** Answers the calls of one generation. */
export interface ToolAnswers {
  /**
   * Resolves to the results, in the order of the calls; or to undefined where a call is left without one, so that the generation
   * ends. Not later than a second after the signal has aborted.
   */
  answer(calls: readonly ToolUse[], between: BetweenSteps): Promise<readonly ContentBlock[] | undefined>;
  /** Shows the calls that are not answered, since a limit is reached. */
  leave(calls: readonly ToolUse[], between: Pick<BetweenSteps, 'emit'>): Promise<void>;
}

export interface StepsOptions {
  /** The conversation before the first step. */
  readonly messages: readonly Message[];
  /** Absent where nobody answers calls: then a call ends the answer. */
  readonly tools?: ToolAnswers | undefined;
  readonly room: AnswerRoom;
  readonly ledger: Ledger;
  /** Cancels the generation. */
  readonly signal: AbortSignal;
}

export class Steps {
  readonly #options: StepsOptions;
  /** What the steps so far have added to the conversation. */
  readonly #added: Message[] = [];
  #count = 0;
  #nextIndex = 0;
  /** Where upstream has run code in an earlier step. */
  #containerId: string | undefined;
  #limit: AnswerLimit | undefined;
  #final: MessageReader | undefined;

  constructor(options: StepsOptions) {
    this.#options = options;
  }

  /** The messages of the step's request. */
  get messages(): readonly Message[] {
    const { messages } = this.#options;
    return this.#added.length === 0 ? messages : [...messages, ...this.#added];
  }

  /**
   * The fields in which the step's request differs from what the config says. New ones stand after the messages, so that the body
   * begins as that of the step before.
   */
  fieldsOver(body: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    const { container } = body;
    const id = this.#containerId;
    return {
      ...(this.#limit !== undefined && 'tools' in body ? { tool_choice: { type: 'none' } } : {}),
      ...(id === undefined ? {} : { container: typeof container === 'object' ? { ...container, id } : id }),
    };
  }

  /** Messages that upstream has completed. */
  get count(): number {
    return this.#count;
  }

  /** The limit that has ended the calls of tools; undefined if none has. The model may call none in a step that begins with it. */
  get limit(): AnswerLimit | undefined {
    return this.#limit;
  }

  /** The message that has ended the answer; undefined before that, and where none has. */
  get final(): MessageReader | undefined {
    return this.#final;
  }

  /** Keeps the message of an attempt; undefined where no step may follow, so that nothing of it needs to be kept. */
  contentFor(config: Config): StepContent | undefined {
    if (!mayGoOn(config)) return undefined;
    if (this.#count === 0) this.#limit = this.#limitOfNext(config);
    return new StepContent(config.tools, this.#nextIndex);
  }

  /** Makes all steps. Rejects with what the sink throws. */
  async pipe(attempts: Attempts, sink: Sink<LlmEvent[]>): Promise<void> {
    await attempts.pipe(sink);
    while (await this.#goesOn(attempts, sink)) await attempts.pipeNext(sink);
  }

  /** Whether another step follows the latest message. Has its calls answered before it. */
  async #goesOn(attempts: Attempts, sink: Sink<LlmEvent[]>): Promise<boolean> {
    const { message, config } = attempts;
    if (!message) return false;
    this.#count += 1;
    const { step, stopReason } = message;
    const calls = stopReason === 'tool_use' ? (step?.calls ?? []) : [];
    const { tools, signal } = this.#options;
    const paused = stopReason === 'pause_turn';
    if (!step || !(paused || (tools && calls.length > 0))) return this.#end(message);
    const emit = inOrder(sink);
    if (this.#isOver(config)) {
      await tools?.leave(calls, { emit });
      return this.#end(message);
    }
    if (paused) await attempts.close();
    const results = paused ? [] : await this.#answer(tools!, calls, attempts, emit);
    if (signal.aborted) return false;
    if (!results) return this.#end(message);
    this.#add(step, results);
    this.#containerId = idIn(message.about.container) ?? this.#containerId;
    this.#limit = this.#limitOfNext(config);
    await emit([{ type: 'step', step: this.#count + 1, stopReason }]);
    return true;
  }

  #end(message: MessageReader): false {
    this.#final = message;
    return false;
  }

  async #answer(
    tools: ToolAnswers,
    calls: readonly ToolUse[],
    attempts: Attempts,
    emit: BetweenSteps['emit'],
  ): Promise<readonly ContentBlock[] | undefined> {
    const { signal } = this.#options;
    const over = new AbortController();
    const stop = () => over.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    using time = attempts.betweenSteps(() => over.abort('total_ms'));
    const between = { signal: over.signal, emit, pause: time.pause, resume: time.resume };
    try {
      // The socket gets ready for the next request meanwhile.
      const [results] = await Promise.all([tools.answer(calls, between), attempts.close()]);
      return results;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  #add({ content, nextIndex }: StepContent, results: readonly ContentBlock[]): void {
    const added: Message[] = [{ role: 'assistant', content }];
    if (results.length > 0) added.push({ role: 'user', content: results });
    this.#options.room.keep(bytesOf(added));
    this.#added.push(...added);
    this.#nextIndex = nextIndex;
  }

  /** Whether no step may follow, whatever the latest message says. */
  #isOver({ steps }: Config): boolean {
    if (this.#limit !== undefined) return true;
    if (steps.atLimit === 'end') this.#limit = this.#reached(steps, this.#count);
    return this.#limit !== undefined;
  }

  /** The limit for which the next step is the last, and without tools. */
  #limitOfNext({ steps }: Config): AnswerLimit | undefined {
    return steps.atLimit === 'answer' ? this.#reached(steps, this.#count + 1) : undefined;
  }

  #reached({ max, costUsd }: Config['steps'], steps: number): AnswerLimit | undefined {
    if (steps >= max) return 'steps';
    return costUsd !== undefined && (this.#options.ledger.costUsd ?? Infinity) >= costUsd ? 'cost' : undefined;
  }
}

/** Whether the model may call tools, or upstream tools of its own, so that more than one step may be needed. */
function mayGoOn(config: Config): boolean {
  return config.tools !== undefined || config.mcpServers !== undefined;
}

function idIn(container: unknown): string | undefined {
  const id = typeof container === 'object' && container !== null && 'id' in container ? container.id : undefined;
  return typeof id === 'string' ? id : undefined;
}

/** Hands events to the sink one batch after the other, whoever emits them. */
function inOrder(sink: Sink<LlmEvent[]>): BetweenSteps['emit'] {
  let last = Promise.resolve();
  return (events) => (events.length === 0 ? last : (last = last.then(() => sink([...events]))));
}
