/**
 * Checks the conversations that this browser has stored before the page uses them, and leaves out all that it can't
 * read. Pure.
 */
import { isRecord } from '../page/is-record.ts';
import type { Conversation, Turn } from './conversations.ts';

const idCharsMax = 200;

/** Newest first. Undefined if the value is no list. */
export function conversationsFrom(value: unknown, damaged: () => void): readonly Conversation[] | undefined {
  return Array.isArray(value) ? distinct(value, conversationFrom, ({ id }) => id, damaged) : undefined;
}

function conversationFrom(value: unknown, damaged: () => void): Conversation | undefined {
  if (!isRecord(value) || !isId(value['id']) || !Array.isArray(value['turns'])) return undefined;
  const turns = distinct(value['turns'], turnFrom, ({ generationId }) => generationId, damaged);
  return turns.length > 0 ? { id: value['id'], turns } : undefined;
}

function turnFrom(value: unknown, damaged: () => void): Turn | undefined {
  if (!isRecord(value)) return undefined;
  const { generationId, prompt, config, variables, askedAtMs } = value;
  if (!isId(generationId) || typeof prompt !== 'string' || typeof config !== 'string' || !isRecord(variables)) {
    return undefined;
  }
  const texts = Object.entries(variables).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  if (texts.length < Object.keys(variables).length) damaged();
  const asked = typeof askedAtMs === 'number' ? { askedAtMs } : {};
  return { generationId, prompt, config, variables: Object.fromEntries(texts), ...asked };
}

/** The items that can be read, each key once. */
function distinct<T>(
  values: readonly unknown[],
  read: (value: unknown, damaged: () => void) => T | undefined,
  keyOf: (item: T) => string,
  damaged: () => void,
): readonly T[] {
  const items = new Map<string, T>();
  for (const value of values) {
    const item = read(value, damaged);
    if (item === undefined || items.has(keyOf(item))) damaged();
    else items.set(keyOf(item), item);
  }
  return [...items.values()];
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= idCharsMax;
}
