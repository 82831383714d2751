/** What the page reads out of an answer of `llm-service/react`. Pure. */
import type { Answer, CallPart } from 'llm-service/react';

export type { Answer, CallPart, Part } from 'llm-service/react';

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
export function waitsForReader({ state }: CallPart): boolean {
  return state === 'waiting';
}

/** Whether no more events will arrive. */
export function hasEnded({ status }: Answer): boolean {
  return status === 'done' || status === 'cancelled' || status === 'error';
}
