/**
 * Puts a conversation together that a client of another API sends back: in it, the steps of an answer are one message, and the
 * service's own calls stand there with their results. Upstream takes each call in a message of the model, and its result in the next
 * message of the user.
 */
import type { ContentBlock, Message } from '../protocol.ts';

type Role = Message['role'];

/** One message of the conversation being made. */
interface Turn {
  readonly role: Role;
  readonly content: ContentBlock[];
}

export class PastTurns {
  readonly #turns: Turn[] = [];
  /** Results of calls in the last message, which go into the next one of the user. */
  #results: ContentBlock[] = [];
  /** Whether the result of a call is unknown, so that the call was left out. */
  #incomplete = false;

  /** Adds to the conversation. Adjacent messages of one role become one. What follows results begins a new step. */
  add(role: Role, blocks: readonly ContentBlock[]): void {
    this.endStep();
    if (blocks.length > 0 || role !== 'assistant') this.#append(role, blocks);
  }

  /** Adds a call to the step that is not over: to the message of the model whose other calls may have their results. */
  addCall(call: ContentBlock): void {
    this.#append('assistant', [call]);
  }

  /** Adds the result of a call of the service's own. */
  addResult(result: ContentBlock): void {
    this.#results.push(result);
  }

  /** Notes that a call is missing, since its result isn't known here: upstream would refuse it. */
  leaveOut(): void {
    this.#incomplete = true;
  }

  /** Puts the results into a message of the user. */
  endStep(): void {
    if (this.#results.length === 0) return;
    const results = this.#results;
    this.#results = [];
    this.#append('user', results);
  }

  /** The whole conversation. Upstream takes thinking only behind everything that came before it, so where a call was left out, all thinking is too. */
  get messages(): Message[] {
    this.endStep();
    if (!this.#incomplete) return this.#turns;
    const isKept = ({ type }: ContentBlock) => type !== 'thinking' && type !== 'redacted_thinking';
    return this.#turns.flatMap(({ role, content }) => {
      const kept = role === 'assistant' ? content.filter(isKept) : content;
      return kept.length === 0 && content.length > 0 ? [] : [{ role, content: kept }];
    });
  }

  #append(role: Role, blocks: readonly ContentBlock[]): void {
    const last = this.#turns.at(-1);
    if (last?.role === role && role !== 'system') last.content.push(...blocks);
    else this.#turns.push({ role, content: [...blocks] });
  }
}

/** A call as upstream takes it: with an object as its input, also where the model wrote none. Upstream's documents wrap other input so. */
export function toolUse(id: string, name: string, input: unknown): ContentBlock {
  const isObject = typeof input === 'object' && input !== null && !Array.isArray(input);
  return { type: 'tool_use', id, name, input: isObject ? input : { INVALID_JSON: input } };
}

/** The result of a call, for the model. */
export function toolResult(id: string, content: unknown, isError: boolean): ContentBlock {
  return { type: 'tool_result', tool_use_id: id, content, ...(isError ? { is_error: true } : {}) };
}
