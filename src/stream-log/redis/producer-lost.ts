/** The end of a generation whose producer can't write one. */
import { LlmError } from '../../errors.ts';
import type { LlmEvent, StartEvent, TerminalEvent } from '../../protocol.ts';

/** Letters of English text that make a token, about. */
const charsPerToken = 4;

export function producerLost(cause?: unknown): LlmError {
  return new LlmError('producer_lost', 'The process that produced this answer is gone', { cause });
}

/**
 * The event that ends a log in the place of its producer. What the answer cost is known to nobody else, so output tokens are
 * estimated from the length of the text.
 *
 * @param start The log's `start`; undefined if that can't be had.
 * @param textChars Letters of text and thinking in the log.
 */
export function lostEvent(
  start: Pick<StartEvent, 'config' | 'model' | 'startedAt'> | undefined,
  textChars: number,
): TerminalEvent {
  return {
    type: 'error',
    ...producerLost().data,
    usage: {
      inputTokens: 0,
      outputTokens: Math.ceil(textChars / charsPerToken),
      cacheReadInputTokens: 0,
      cacheCreationInputTokens: 0,
      estimated: true,
      raw: null,
    },
    costUsd: null,
    timing: { firstTokenMs: null, totalMs: start ? Math.max(0, Date.now() - Date.parse(start.startedAt)) : 0 },
    config: start?.config ?? '',
    model: start?.model ?? '',
  };
}

/** Letters of text and thinking. */
export function textCharsOf(events: readonly LlmEvent[]): number {
  let chars = 0;
  for (const event of events) if (event.type === 'text' || event.type === 'thinking') chars += event.text.length;
  return chars;
}
