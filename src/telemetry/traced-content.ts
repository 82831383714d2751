/**
 * What spans hold of a conversation where `LLM_LOG_CONTENT=1`: JSON by the schemas of the semantic conventions for generative AI, cut
 * to a bounded length. https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
 */
import type { ContentBlock, Message } from '../protocol.ts';

/** Characters of one attribute. Backends refuse or cut longer ones. */
export const contentCharsMax = 64 * 1_024;

/** The value of `gen_ai.input.messages`. */
export function messagesAsParts(messages: readonly Message[]): string {
  return valueAsText(messages.map(({ role, content }) => ({ role, parts: partsOf(content) })));
}

/** The value of `gen_ai.output.messages`. */
export function answerAsParts(text: string, stopReason: string | undefined): string {
  const reason = stopReason === undefined ? {} : { finish_reason: stopReason };
  return valueAsText([{ role: 'assistant', parts: [{ type: 'text', content: text }], ...reason }]);
}

/** JSON, cut where it is longer than an attribute may be. */
export function valueAsText(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null';
  return text.length > contentCharsMax ? `${text.slice(0, contentCharsMax)}…` : text;
}

function partsOf(content: Message['content']): object[] {
  return typeof content === 'string' ? [{ type: 'text', content }] : content.map(partOf);
}

function partOf(block: ContentBlock): object {
  switch (block.type) {
    case 'text':
      return { type: 'text', content: block['text'] };
    case 'thinking':
      return { type: 'reasoning', content: block['thinking'] };
    case 'tool_use':
      return { type: 'tool_call', id: block['id'], name: block['name'], arguments: block['input'] };
    case 'tool_result':
      return { type: 'tool_call_response', id: block['tool_use_id'], response: block['content'] };
    default:
      // An image or a document can be megabytes.
      return { type: block.type };
  }
}
