/**
 * What a token is in the simulator, for input and output: four UTF-16 units, rounded up for each block. So a test knows
 * how many tokens a reply has without knowing its deltas.
 */
import { createHash } from 'node:crypto';
import type { Random } from './random.ts';
import type { MessagesBody } from './validation.ts';

export const charsPerToken = 4;

/** Tokens of one whole block of content: its UTF-16 length divided by four, rounded up. */
export function countTokens(text: string): number {
  return Math.ceil(text.length / charsPerToken);
}

/** Yields deltas of one to three pieces of up to six characters, as a model does. Never splits a code point. */
export function* splitIntoDeltas(text: string, random: Random): Generator<string> {
  const piece = /\s{0,2}\S{1,6}|\s+/gu;
  let start = 0;
  while (start < text.length) {
    for (let pieces = 1 + (random() % 3); pieces > 0 && piece.lastIndex < text.length; pieces--) piece.exec(text);
    yield text.slice(start, piece.lastIndex);
    start = piece.lastIndex;
  }
}

/** The fields of `usage` for the prompt. */
export interface InputUsage {
  readonly input_tokens: number;
  readonly cache_creation_input_tokens: number;
  readonly cache_read_input_tokens: number;
}

/**
 * Remembers system prompts marked with `cache_control`. Unlike the API's cache, it also takes short prompts, and a prompt
 * doesn't expire.
 */
export class PromptCache {
  /** Beyond this number it forgets the oldest. */
  static readonly promptsMax = 10_000;
  readonly #hashes = new Set<string>();

  /**
   * Input tokens of a valid request. The marked part of its system prompt counts as read from the cache if it was seen
   * before, else as written.
   */
  usageOf(body: MessagesBody): InputUsage {
    const marked: string[] = [];
    let unmarked: string[] = [];
    for (const block of typeof body.system === 'string' ? [{ text: body.system }] : (body.system ?? [])) {
      unmarked.push(block.text);
      if ('cache_control' in block && block.cache_control) {
        marked.push(...unmarked);
        unmarked = [];
      }
    }
    const cachedTokens = sum(marked.map(countTokens));
    const hit = marked.length > 0 && this.#remember(marked);
    return {
      input_tokens: sum(unmarked.map(countTokens)) + tokensOfConversation(body),
      cache_creation_input_tokens: hit ? 0 : cachedTokens,
      cache_read_input_tokens: hit ? cachedTokens : 0,
    };
  }

  /** Remembers these texts, and returns whether they were known before. */
  #remember(texts: readonly string[]): boolean {
    const hash = createHash('sha256').update(JSON.stringify(texts)).digest('base64');
    if (this.#hashes.has(hash)) return true;
    this.#hashes.add(hash);
    if (this.#hashes.size > PromptCache.promptsMax) this.#hashes.delete(this.#hashes.values().next().value!);
    return false;
  }
}

function tokensOfConversation({ messages, tools }: MessagesBody): number {
  let tokens = tools === undefined ? 0 : countTokens(JSON.stringify(tools));
  for (const { content } of messages) {
    for (const block of typeof content === 'string' ? [{ type: 'text', text: content }] : content) {
      tokens += countTokens(typeof block['text'] === 'string' ? block['text'] : JSON.stringify(block));
    }
  }
  return tokens;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
