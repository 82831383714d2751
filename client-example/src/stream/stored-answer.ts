/**
 * An answer as this browser stores it: without what follows from its parts. What was stored is checked before the page uses it:
 * every field that the page shows must have the right type. Pure.
 */
import { emptyAnswer, type Answer, type Part } from 'llm-service/react';
import { isRecord } from '../page/is-record.ts';

/** The fields of an answer that are stored. */
export type StoredAnswer = Pick<Answer, 'status' | 'lastEventId' | 'start' | 'parts' | 'terminal' | 'error'>;

export function storedOf({ status, lastEventId, start, parts, terminal, error }: Answer): StoredAnswer {
  return { status, lastEventId, start, parts, terminal, error };
}

/**
 * Undefined if the value is no answer. The page then follows the answer from its beginning, as if it had not been
 * stored.
 */
export function answerFrom(value: unknown): Answer | undefined {
  if (!isRecord(value) || !Array.isArray(value['parts']) || !value['parts'].every(isPart)) return undefined;
  const { status, lastEventId, start, terminal, error } = value;
  const sound =
    statuses.has(status) &&
    isAbsentOr(isText, lastEventId) &&
    isAbsentOr(isStart, start) &&
    isAbsentOr(isTerminal, terminal) &&
    isAbsentOr(isError, error);
  return sound ? wholeOf(value as unknown as StoredAnswer) : undefined;
}

function wholeOf(stored: StoredAnswer): Answer {
  const { parts, terminal } = stored;
  const textOf = (kind: 'text' | 'thinking') => parts.map((part) => (part.kind === kind ? part.text : '')).join('');
  const calls = parts.filter((part) => part.kind === 'call');
  return {
    ...emptyAnswer,
    ...stored,
    text: textOf('text'),
    thinking: textOf('thinking'),
    calls,
    blocks: parts.filter((part) => part.kind === 'block'),
    pending: terminal ? [] : calls.filter(({ state }) => state === 'waiting'),
    ...(terminal && { usage: terminal.usage, costUsd: terminal.costUsd, timing: terminal.timing }),
  };
}

const statuses = new Set<unknown>(['waiting', 'running', 'done', 'cancelled', 'error']);
const callStates = new Set<unknown>(['writing', 'running', 'waiting', 'done', 'failed']);

function isPart(value: unknown): value is Part {
  if (!isRecord(value) || !isCount(value['index'])) return false;
  if (value['kind'] === 'block') return isRecord(value['block']) && isText(value['block']['type']);
  if (value['kind'] === 'call') return isCall(value);
  return (value['kind'] === 'text' || value['kind'] === 'thinking') && isText(value['text']);
}

function isCall({ id, name, state, draft, error }: Readonly<Record<string, unknown>>): boolean {
  return (
    isText(id) && isText(name) && callStates.has(state) && isAbsentOr(isText, draft) && isAbsentOr(isToolError, error)
  );
}

function isToolError(value: unknown): boolean {
  return isRecord(value) && isText(value['code']) && isText(value['message']);
}

function isStart(value: unknown): boolean {
  return isRecord(value) && value['type'] === 'start' && typeof value['simulated'] === 'boolean';
}

function isTerminal(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { type, usage, timing, costUsd, stopReason } = value;
  if (!isRecord(usage) || !isRecord(timing) || !(costUsd === null || isCount(costUsd))) return false;
  const counts = ['inputTokens', 'outputTokens', 'cacheReadInputTokens', 'cacheCreationInputTokens'];
  if (!counts.every((name) => isCount(usage[name])) || !isCount(timing['totalMs'])) return false;
  if (timing['firstTokenMs'] !== null && !isCount(timing['firstTokenMs'])) return false;
  if (type === 'error') return isError(value);
  if (type === 'cancelled') return isText(value['reason']);
  if (type !== 'done' || !isAbsentOr(isText, value['object']) || !isAbsentOr(isText, value['limit'])) return false;
  return stopReason === null || isText(stopReason);
}

function isError(value: unknown): boolean {
  return (
    isRecord(value) &&
    isText(value['code']) &&
    isText(value['message']) &&
    typeof value['retryable'] === 'boolean' &&
    isAbsentOr(isCount, value['retryAfterMs'])
  );
}

function isAbsentOr(check: (value: unknown) => boolean, value: unknown): boolean {
  return value === undefined || check(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isCount(value: unknown): value is number {
  return typeof value === 'number';
}
