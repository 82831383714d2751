/**
 * Remembers the answers that called tools, so that the request which continues one can be compared with the request before
 * it. The API's caches, and the signatures of thinking, hold for an unchanged prefix only: the same model, tools and system
 * prompt, the same messages, and the assistant's message as it was sent.
 */
import { createHash } from 'node:crypto';
import { blocksOf } from './asked.ts';
import type { MessagesBody, RequestBlock } from './validation.ts';

/** Beyond this number of calls the oldest is forgotten. */
const callsMax = 1_000;

/** The fields of a body that stand before or beside its messages, and must stay as they are. */
const fixedFields = ['model', 'tools', 'system', 'thinking'] as const;

/** A part of a request that must stay as it was; `answer` is the assistant's message that the API has sent. */
export type PrefixPart = (typeof fixedFields)[number] | 'messages' | 'answer';

/** An answer that called tools, with what it was an answer to. Digests, because a conversation may be large. */
interface Turn {
  readonly requestId: string;
  readonly fields: readonly string[];
  readonly messages: string;
  /** Content blocks of all messages. */
  readonly messageBlocks: number;
  readonly answer: string;
  readonly answerBlocks: number;
  /** The calls whose input was no JSON: clients put something of their own in its place. */
  readonly unreadable: ReadonlySet<unknown>;
  readonly thinking: string;
}

/** How a request continues an earlier one. */
export interface Continuation {
  /** The `request-id` of the earlier request. */
  readonly requestId: string;
  /** The first part that isn't as it was; undefined where the whole prefix is unchanged. */
  readonly changed: PrefixPart | undefined;
  /** Whether the assistant's message has thinking, and not the thinking that was sent. */
  readonly thinkingChanged: boolean;
}

export class PastTurns {
  /** By the ids of their calls. */
  readonly #turns = new Map<string, Turn>();

  /** Remembers an answer that calls tools, and no other. */
  remember(requestId: string, body: MessagesBody, answer: readonly RequestBlock[]): void {
    const ids = callsIn(answer);
    if (ids.length === 0) return;
    const blocks = allBlocks(body);
    const unreadable = new Set(answer.filter(({ input }) => input === null).map(({ id }) => id));
    const turn: Turn = {
      requestId,
      fields: fieldsOf(body),
      messages: digest(blocks),
      messageBlocks: blocks.length,
      answer: digestOfAnswer(answer, unreadable),
      answerBlocks: answer.length,
      unreadable,
      thinking: thinkingIn(answer),
    };
    for (const id of ids) this.#turns.set(id, turn);
    while (this.#turns.size > callsMax) this.#turns.delete(this.#turns.keys().next().value!);
  }

  /** How a valid request continues an answer; undefined where it continues none that is remembered. */
  continuation(body: MessagesBody): Continuation | undefined {
    const answered = body.messages.slice(-2).findLast(({ role }) => role === 'assistant');
    // Where a turn was paused, its message may have the calls of two answers: the last one is continued.
    const turn = callsIn(answered ? blocksOf(answered) : [])
      .flatMap((id) => this.#turns.get(id) ?? [])
      .at(-1);
    if (turn === undefined) return undefined;
    const { requestId, messageBlocks, answerBlocks, unreadable } = turn;
    const blocks = allBlocks(body);
    const answer = blocks.slice(messageBlocks, messageBlocks + answerBlocks).map(([, block]) => block);
    const thinking = thinkingIn(answer);
    const fields = fieldsOf(body);
    const changed =
      fixedFields.find((_, index) => fields[index] !== turn.fields[index]) ??
      (digest(blocks.slice(0, messageBlocks)) === turn.messages ? undefined : 'messages') ??
      (digestOfAnswer(answer, unreadable) === turn.answer ? undefined : 'answer');
    return { requestId, changed, thinkingChanged: thinking !== noThinking && thinking !== turn.thinking };
  }
}

/** The ids of calls. A call by the API itself counts too, since `pause_turn` is continued after one. */
function callsIn(blocks: readonly RequestBlock[]): string[] {
  return blocks.filter(({ type }) => type === 'tool_use' || type === 'server_tool_use').map(({ id }) => String(id));
}

function fieldsOf(body: MessagesBody): string[] {
  return fixedFields.map((field) => digest(body[field]));
}

/** The content blocks of all messages, each with its role: messages of one role in a row are one message to the API. */
function allBlocks({ messages }: MessagesBody): (readonly [role: string, block: RequestBlock])[] {
  return messages.flatMap((message) => blocksOf(message).map((block) => [message.role, block] as const));
}

/** The fields of a block may have another order than that in which they were sent. */
function digestOfAnswer(blocks: readonly RequestBlock[], unreadable: ReadonlySet<unknown>): string {
  return digest(
    blocks.map((block) => {
      const fields = Object.entries(block).filter(([key]) => key !== 'input' || !unreadable.has(block['id']));
      return fields.toSorted(([one], [other]) => (one < other ? -1 : 1));
    }),
  );
}

function thinkingIn(blocks: readonly RequestBlock[]): string {
  const thinking = blocks.filter(({ type }) => type === 'thinking' || type === 'redacted_thinking');
  return digestOfAnswer(thinking, new Set());
}

/** Marks of what may be cached move from step to step, and are no part of the prompt. */
function digest(value: unknown): string {
  const json = JSON.stringify(value, (key, each: unknown) => (key === 'cache_control' ? undefined : each)) ?? '';
  return createHash('sha256').update(json).digest('base64');
}

const noThinking = thinkingIn([]);
