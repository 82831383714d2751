/**
 * The conversations of this browser: the questions and the ids of their answers. answer-store.ts stores the answers.
 * Every tab shows the same conversations. If the browser has no room for one, it stays in this tab only, and no other
 * conversation is deleted for it.
 */
import { useSyncExternalStore } from 'react';
import { onStoredElsewhere, readStored, writeStored } from '../page/storage.ts';
import { forgetAnswers, forgetOtherAnswers, keepAnswers } from '../stream/answer-store.ts';
import { conversationsFrom } from './stored-conversations.ts';

/** One question, and the id of its answer. */
export interface Turn {
  readonly generationId: string;
  readonly prompt: string;
  readonly config: string;
  readonly variables: Readonly<Record<string, string>>;
  /** When the person asked, by this machine's clock. */
  readonly askedAtMs?: number;
}

export interface Conversation {
  readonly id: string;
  readonly turns: readonly Turn[];
}

export interface Conversations {
  /** Newest first. */
  readonly all: readonly Conversation[];
  /** Ids of the conversations that a reload would lose, or would set back to an earlier state. */
  readonly unkept: ReadonlySet<string>;
}

const key = 'conversations';

let kept = readAtFirst();
/** In the order in which they were last changed. */
const unkept = new Map<string, Conversation>();
let current = combined();
const listeners = new Set<() => void>();

onStoredElsewhere(key, () => {
  kept = readStored(key, conversationsFrom) ?? [];
  show();
});

export function useConversations(): Conversations {
  return useSyncExternalStore(subscribe, () => current);
}

/** Adds a conversation, or replaces the one with the same id, and moves it to the top. */
export function putConversation(conversation: Conversation): void {
  change(() => keep(conversation));
}

export function removeConversation(id: string): void {
  change(() => {
    unkept.delete(id);
    const next = readKept().filter((each) => each.id !== id);
    if (writeStored(key, next)) kept = next;
  });
  // There may be room now. This iterates over a copy, because a conversation that still finds no room is added again.
  const waiting = [...unkept.values()];
  change(() => waiting.forEach(keep));
  keepAnswers(idsOf(current.all));
}

function keep(conversation: Conversation): void {
  const { id } = conversation;
  const next = [conversation, ...readKept().filter((each) => each.id !== id)];
  unkept.delete(id);
  if (writeStored(key, next)) kept = next;
  else unkept.set(id, conversation);
}

/** Reads the current list: another tab may have written it, and its event may arrive too late. */
function readKept(): readonly Conversation[] {
  kept = readStored(key, conversationsFrom) ?? [];
  return kept;
}

function change(act: () => void): void {
  const before = [...idsOf(kept), ...idsOf(unkept.values())];
  act();
  const after = new Set([...idsOf(kept), ...idsOf(unkept.values())]);
  forgetAnswers(before.filter((id) => !after.has(id)));
  show();
}

function idsOf(conversations: Iterable<Conversation>): readonly string[] {
  return [...conversations].flatMap(({ turns }) => turns.map(({ generationId }) => generationId));
}

function combined(): Conversations {
  const stored = kept.filter(({ id }) => !unkept.has(id));
  return { all: [...[...unkept.values()].toReversed(), ...stored], unkept: new Set(unkept.keys()) };
}

function show(): void {
  current = combined();
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const titleCharsMax = 120;

/** The title of a conversation: the beginning of its first question. */
export function titleOf({ turns }: Conversation): string | undefined {
  const prompt = turns[0]?.prompt;
  if (prompt === undefined || prompt.length <= titleCharsMax) return prompt;
  return `${prompt.slice(0, titleCharsMax)}…`;
}

/**
 * At the start of the page, deletes answers that belong to no conversation, because their question was not stored or
 * was deleted.
 */
function readAtFirst(): readonly Conversation[] {
  let whole = true;
  const read = readStored(key, (value, damaged) =>
    conversationsFrom(value, () => {
      whole = false;
      damaged();
    }),
  );
  if (read && whole) forgetOtherAnswers(idsOf(read));
  return read ?? [];
}
