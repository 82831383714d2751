/**
 * The browser's storage, as JSON under names of our own. What is read may be anything, and what is written may not be
 * kept: the page works all the same, and says so (keeping-note.tsx). Knows nothing of what is kept.
 */
import { useSyncExternalStore } from 'react';

/** For all tabs, for ever; or for this tab and its reloads. */
export type Place = 'browser' | 'tab';

/** Pages of several services may come from one origin, each under a path of its own. */
const folder = new URL('.', document.baseURI).pathname;
const prefix = `llm-service:1:${folder === '/' ? '' : `${folder}:`}`;

export interface Keeping {
  /** Whether this page may keep anything in this browser. */
  readonly possible: boolean;
  /** Whether something that was kept could not be read. */
  readonly damaged: boolean;
}

let keeping: Keeping = { possible: canKeep(), damaged: false };
const listeners = new Set<() => void>();

export function useKeeping(): Keeping {
  return useSyncExternalStore(subscribe, () => keeping);
}

/** Calls `damaged` for what it leaves out, and returns undefined where nothing can be made of the value. */
export type Reader<T> = (value: unknown, damaged: () => void) => T | undefined;

/** Undefined where nothing is kept, or nothing that can be read. */
export function readStored<T>(key: string, reader: Reader<T>, place: Place = 'browser'): T | undefined {
  try {
    const text = storageOf(place)?.getItem(prefix + key) ?? null;
    if (text === null) return undefined;
    const read = reader(JSON.parse(text), noteDamage);
    if (read === undefined) noteDamage();
    return read;
  } catch {
    noteDamage();
    return undefined;
  }
}

/** Whether it was kept. What was there before stays where it was not. */
export function writeStored(key: string, value: unknown, place: Place = 'browser'): boolean {
  try {
    const storage = storageOf(place);
    storage?.setItem(prefix + key, JSON.stringify(value));
    return storage !== undefined;
  } catch {
    return false;
  }
}

export function removeStored(key: string, place: Place = 'browser'): void {
  try {
    storageOf(place)?.removeItem(prefix + key);
  } catch {
    // Nothing is kept there then.
  }
}

/** The rest of each key of this page that begins with `start`. */
export function storedKeys(start: string): readonly string[] {
  try {
    const begin = prefix + start;
    return Object.keys(storageOf('browser') ?? {}).flatMap((key) =>
      key.startsWith(begin) ? key.slice(begin.length) : [],
    );
  } catch {
    return [];
  }
}

/** Calls back when another tab has changed what is kept under the key; returns what ends that. */
export function onStoredElsewhere(key: string, listener: () => void): () => void {
  const handle = (event: StorageEvent) => {
    if (event.key === null || event.key === prefix + key) listener();
  };
  addEventListener('storage', handle);
  return () => removeEventListener('storage', handle);
}

/** A browser that blocks a site's data throws where its storage is only named; some have null there. */
function storageOf(place: Place): Storage | undefined {
  try {
    return (place === 'browser' ? localStorage : sessionStorage) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Private windows of some browsers have a storage that is empty and takes nothing. */
function canKeep(): boolean {
  const storage = storageOf('browser');
  if (!storage) return false;
  try {
    storage.setItem(`${prefix}probe`, '');
    storage.removeItem(`${prefix}probe`);
    return true;
  } catch {
    return storage.length > 0;
  }
}

function noteDamage(): void {
  if (keeping.damaged) return;
  keeping = { ...keeping, damaged: true };
  // What is read while a component renders can't change another one in that moment.
  queueMicrotask(() => {
    for (const listener of listeners) listener();
  });
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
