/**
 * Checks an answer that this browser has stored before the page uses it: every field that the page shows must have the
 * right type. Pure.
 */
import { isRecord } from '../page/is-record.ts';
import type { Answer, Part } from './answer.ts';

/**
 * Undefined if the value is no answer. The page then follows the answer from its beginning, as if it had not been
 * stored.
 */
export function answerFrom(value: unknown): Answer | undefined {
  if (!isRecord(value) || !Array.isArray(value['parts']) || !value['parts'].every(isPart)) return undefined;
  const { lastEventId, start, terminal, refusal } = value;
  const sound =
    isAbsentOr(isText, lastEventId) &&
    isAbsentOr(isStart, start) &&
    isAbsentOr(isTerminal, terminal) &&
    isAbsentOr(isRefusal, refusal);
  return sound ? (value as unknown as Answer) : undefined;
}

function isPart(value: unknown): value is Part {
  if (!isRecord(value) || !isCount(value['index'])) return false;
  if (value['kind'] === 'block') return isRecord(value['block']) && isText(value['block']['type']);
  if (value['kind'] === 'call') return isCall(value);
  return (value['kind'] === 'text' || value['kind'] === 'thinking') && isText(value['text']);
}

function isCall({ id, name, draft, call, result }: Readonly<Record<string, unknown>>): boolean {
  return (
    isText(id) &&
    isText(name) &&
    isAbsentOr(isText, draft) &&
    isAbsentOr(isRecord, call) &&
    isAbsentOr(isResult, result)
  );
}

function isResult(value: unknown): boolean {
  return isRecord(value) && isAbsentOr(isToolError, value['error']);
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
  if (type === 'error') return isRefusal(value);
  if (type === 'cancelled') return isText(value['reason']);
  if (type !== 'done' || !isAbsentOr(isText, value['object']) || !isAbsentOr(isText, value['limit'])) return false;
  return stopReason === null || isText(stopReason);
}

function isRefusal(value: unknown): boolean {
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
