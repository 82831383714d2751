/**
 * The state of one answer, made only from its events. Pure: knows no connection, no storage, no React. The cursor and
 * the text up to it are one value, so that they can never differ.
 */
import type { LlmClientError, LlmEvent, TerminalEvent } from 'llm-service/client';

export type StartEvent = Extract<LlmEvent, { type: 'start' }>;
type BlockEvent = Extract<LlmEvent, { type: 'block' }>;
type ToolCallEvent = Extract<LlmEvent, { type: 'tool_call' }>;
type ToolResultEvent = Extract<LlmEvent, { type: 'tool_result' }>;

/** The call of a tool, from its beginning to its result. */
export interface CallPart {
  readonly kind: 'call';
  readonly index: number;
  readonly id: string;
  readonly name: string;
  /** The input's JSON, while the model writes it and the tool lets clients see it. */
  readonly draft?: string;
  /** Absent until the model has written the whole call. */
  readonly call?: Pick<ToolCallEvent, 'input' | 'by' | 'approval'>;
  readonly result?: { readonly output?: unknown; readonly error?: { readonly code: string; readonly message: string } };
}

/** One part of the answer, in reading order. Adjacent text of one content block is one part. */
export type Part =
  | { readonly kind: 'text' | 'thinking'; readonly index: number; readonly text: string }
  | { readonly kind: 'block'; readonly index: number; readonly block: BlockEvent['block'] }
  | CallPart;

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
    case 'tool_start': {
      const { index, id: callId, name } = event;
      return { ...answer, lastEventId: id, parts: [...answer.parts, { kind: 'call', index, id: callId, name }] };
    }
    case 'tool_input':
      return { ...answer, lastEventId: id, parts: withDraft(answer.parts, event.index, event.text) };
    case 'tool_call':
      return { ...answer, lastEventId: id, parts: withCall(answer.parts, event) };
    case 'tool_result':
      return { ...answer, lastEventId: id, parts: withResult(answer.parts, event) };
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

function withDraft(parts: readonly Part[], index: number, text: string): readonly Part[] {
  return parts.map((part) =>
    part.kind === 'call' && part.index === index ? { ...part, draft: (part.draft ?? '') + text } : part,
  );
}

function withCall(parts: readonly Part[], event: ToolCallEvent): readonly Part[] {
  const { index, id, name, input, by, approval } = event;
  const whole: CallPart = { kind: 'call', index, id, name, call: { input, by, ...(approval && { approval }) } };
  const begun = parts.some((part) => part.kind === 'call' && part.id === id);
  return begun ? parts.map((part) => (part.kind === 'call' && part.id === id ? whole : part)) : [...parts, whole];
}

function withResult(parts: readonly Part[], event: ToolResultEvent): readonly Part[] {
  const result = event.ok ? { output: event.output } : { error: event.error };
  return parts.map((part) => (part.kind === 'call' && part.id === event.id ? { ...part, result } : part));
}

/** The model's text without its thinking: the next request quotes it. A call of a tool ends a paragraph. */
export function textOf({ parts }: Answer): string {
  let text = '';
  let called = false;
  for (const part of parts) {
    if (part.kind === 'call') called = true;
    if (part.kind !== 'text') continue;
    text += called && text !== '' ? `\n\n${part.text}` : part.text;
    called = false;
  }
  return text;
}

/** Whether a call waits for an approval, or for what the client gives. */
export function waitsForReader({ call, result }: CallPart): boolean {
  return result === undefined && call !== undefined && (call.approval === true || call.by === 'client');
}

/** Whether no more events will arrive. */
export function hasEnded({ terminal, refusal }: Answer): boolean {
  return terminal !== undefined || refusal !== undefined;
}
