/**
 * What one answer is, folded from its events and nothing else. Pure: knows no connection, no storage, no React.
 * The cursor and what was read up to it are one value, so that they can't part.
 */
import type { LlmClientError, LlmEvent, TerminalEvent } from 'llm-service/client';

export type StartEvent = Extract<LlmEvent, { type: 'start' }>;
type BlockEvent = Extract<LlmEvent, { type: 'block' }>;

/** A piece of the answer in the order of reading; text of one content block is one part. */
export type Part =
  | { readonly kind: 'text' | 'thinking'; readonly index: number; readonly text: string }
  | { readonly kind: 'block'; readonly index: number; readonly block: BlockEvent['block'] };

/** Why there will be no terminal event: the request was refused, or the service can't be reached any more. */
export type Refusal = Pick<LlmClientError, 'code' | 'message' | 'retryable' | 'retryAfterMs'>;

export interface Answer {
  /** The id of the last event that is in here: where to go on from. */
  readonly lastEventId?: string;
  readonly start?: StartEvent;
  readonly parts: readonly Part[];
  readonly terminal?: TerminalEvent;
  readonly refusal?: Refusal;
}

export const emptyAnswer: Answer = { parts: [] };

/** The answer after one more event. `start` begins anew: a service that sends it sends all that follows it, too. */
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
      // A newer service may send more kinds than these.
      return { ...answer, lastEventId: id };
  }
}

function withText(parts: readonly Part[], kind: 'text' | 'thinking', index: number, text: string): readonly Part[] {
  const last = parts.at(-1);
  if (last?.kind !== kind || last.index !== index) return [...parts, { kind, index, text }];
  return [...parts.slice(0, -1), { kind, index, text: last.text + text }];
}

/** What the model said, without its thinking: what the next request quotes. */
export function textOf({ parts }: Answer): string {
  return parts.map((part) => (part.kind === 'text' ? part.text : '')).join('');
}

/** Whether nothing more is to come. */
export function hasEnded({ terminal, refusal }: Answer): boolean {
  return terminal !== undefined || refusal !== undefined;
}
