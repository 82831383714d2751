/**
 * The conversations this browser keeps: what was asked, under which ids; the answers are kept by answer-store.ts. Every
 * tab shows the same ones. Bounded: beyond `conversationsMax`, and where the disk is full, the oldest goes.
 */
import { useSyncExternalStore } from 'react';
import { onStoredElsewhere, readStored, writeStored } from '../page/storage.ts';
import { forgetAnswers } from '../stream/answer-store.ts';

/** One question, and the id of its answer. */
export interface Turn {
  readonly generationId: string;
  readonly prompt: string;
  readonly config: string;
  readonly variables: Readonly<Record<string, string>>;
}

export interface Conversation {
  readonly id: string;
  readonly turns: readonly Turn[];
}

const key = 'conversations';
const conversationsMax = 50;

let current: readonly Conversation[] = (readStored(key) as readonly Conversation[] | undefined) ?? [];
const listeners = new Set<() => void>();

onStoredElsewhere(key, () => show((readStored(key) as readonly Conversation[] | undefined) ?? []));

/** Newest first. */
export function useConversations(): readonly Conversation[] {
  return useSyncExternalStore(subscribe, () => current);
}

/** Adds a conversation or replaces the one of its id, and moves it to the top. */
export function putConversation(conversation: Conversation): void {
  keep([conversation, ...current.filter(({ id }) => id !== conversation.id)]);
}

export function removeConversation(id: string): void {
  keep(current.filter((each) => each.id !== id));
}

function keep(next: readonly Conversation[]): void {
  let kept = next.slice(0, conversationsMax);
  while (!writeStored(key, kept) && kept.length > 1) {
    forgetAnswers(idsOf(kept.slice(-1)));
    kept = kept.slice(0, -1);
  }
  const left = idsOf(kept);
  forgetAnswers([...idsOf(current)].filter((id) => !left.has(id)));
  show(kept);
}

function idsOf(conversations: readonly Conversation[]): ReadonlySet<string> {
  return new Set(conversations.flatMap(({ turns }) => turns.map(({ generationId }) => generationId)));
}

function show(next: readonly Conversation[]): void {
  current = next;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
