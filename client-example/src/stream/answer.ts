/**
 * The state of one answer, made only from its events. Pure: knows no connection, no storage, no React. The cursor and
 * the text up to it are one value, so that they can never differ.
 */
import type { LlmClientError, LlmEvent, TerminalEvent } from 'llm-service/client';

export type StartEvent = Extract<LlmEvent, { type: 'start' }>;
type BlockEvent = Extract<LlmEvent, { type: 'block' }>;

/** One part of the answer, in reading order. Adjacent text of one content block is one part. */
export type Part =
  | { readonly kind: 'text' | 'thinking'; readonly index: number; readonly text: string }
  | { readonly kind: 'block'; readonly index: number; readonly block: BlockEvent['block'] };

/**
 * Why there will be no terminal event: the service refused the request, or the client has given up reaching the
 * service.
 */
export type Refusal = Pick<LlmClientError, 'code' | 'message' | 'retryable' | 'retryAfterMs'>;

export interface Answer {
  /** The id of the last event in this answer: a subscription continues after it. */
  readonly lastEventId?: string;
  readonly start?: StartEvent;
  readonly parts: readonly Part[];
  readonly terminal?: TerminalEvent;
  readonly refusal?: Refusal;
}

export const emptyAnswer: Answer = { parts: [] };

/**
 * The answer after one more event. At `start` the answer begins anew, because a service that sends `start` sends all
 * later events, too.
 */
export function applyEvent(answer: Answer, id: string, event: LlmEvent): Answer {
  switch (event.type) {
    case 'start':
      return { lastEventId: id, start: event, parts: [] };
    case 'text':
    case 'thinking':
      return { ...answer, lastEventId: id, parts: withText(answer.parts, event.type, event.index, event.text) };
    case 'block':
      return {
        ...answer,
        lastEventId: id,
        parts: [...answer.parts, { kind: 'block', index: event.index, block: event.block }],
      };
    case 'done':
    case 'cancelled':
    case 'error':
      return { ...answer, lastEventId: id, terminal: event };
    default:
      // A newer service may send other types of events.
      return { ...answer, lastEventId: id };
  }
}

function withText(parts: readonly Part[], kind: 'text' | 'thinking', index: number, text: string): readonly Part[] {
  const last = parts.at(-1);
  if (last?.kind !== kind || last.index !== index) return [...parts, { kind, index, text }];
  return [...parts.slice(0, -1), { kind, index, text: last.text + text }];
}

/** The model's text without its thinking: the next request quotes it. */
export function textOf({ parts }: Answer): string {
  return parts.map((part) => (part.kind === 'text' ? part.text : '')).join('');
}

/** Whether no more events will arrive. */
export function hasEnded({ terminal, refusal }: Answer): boolean {
  return terminal !== undefined || refusal !== undefined;
}
