/** What a request asks for: the question, and how far its answer is, where tools are part of it. */
import { isObject, type Fields } from './fields.ts';
import type { MessagesBody, RequestBlock, RequestMessage } from './validation.ts';

/** The result of a call, as the request has it. */
export interface GivenResult {
  /** Name of the tool. */
  readonly name: string;
  /** What the model gave to the tool. */
  readonly input: unknown;
  /** What the tool gave: its text, and the types of everything else. */
  readonly content: string;
  readonly isError: boolean;
}

export interface Asked {
  /** The text of the last user message that is more than results of tools. */
  readonly question: string;
  /** How many messages of the assistant follow the question. */
  readonly steps: number;
  /** The results in the last message. */
  readonly results: readonly GivenResult[];
  /** Calls of the API's own tools that have no result yet: the last message ends with `pause_turn`. */
  readonly paused: readonly RequestBlock[];
}

export function askedIn({ messages }: MessagesBody): Asked {
  const at = messages.findLastIndex(
    (message) => message.role === 'user' && (textOf(message) !== '' || !hasResult(message)),
  );
  const last = messages.at(-1)!;
  return {
    question: at === -1 ? '' : textOf(messages[at]!),
    steps: messages.slice(at + 1).filter(({ role }) => role === 'assistant').length,
    results: last.role === 'user' ? resultsOf(last, messages.at(-2)) : [],
    paused: last.role === 'assistant' ? pausedCalls(blocksOf(last)) : [],
  };
}

function resultsOf(message: RequestMessage, before: RequestMessage | undefined): GivenResult[] {
  const calls = new Map((before ? blocksOf(before) : []).map((block) => [block['id'], block]));
  return blocksOf(message).flatMap((block) => {
    if (block.type !== 'tool_result') return [];
    const call = calls.get(block['tool_use_id']);
    return [
      {
        name: String(call?.['name']),
        input: call?.['input'],
        content: contentOf(block),
        isError: block['is_error'] === true,
      },
    ];
  });
}

function contentOf({ content }: RequestBlock): string {
  if (typeof content === 'string') return content;
  const blocks = Array.isArray(content) ? (content as unknown[]).filter(isObject) : [];
  return blocks
    .map((block: Fields) => (typeof block['text'] === 'string' ? block['text'] : `(${String(block['type'])})`))
    .join('\n');
}

function pausedCalls(blocks: readonly RequestBlock[]): RequestBlock[] {
  const answered = new Set(blocks.map((block) => block['tool_use_id']));
  return blocks.filter(({ type, id }) => type === 'server_tool_use' && !answered.has(id));
}

function hasResult(message: RequestMessage): boolean {
  return blocksOf(message).some(({ type }) => type === 'tool_result');
}

function textOf(message: RequestMessage): string {
  return blocksOf(message)
    .flatMap((block) => (block.type === 'text' ? [block['text'] as string] : []))
    .join('\n');
}

/** The content of a message as blocks; a text is one block. */
export function blocksOf({ content }: RequestMessage): readonly RequestBlock[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content;
}
