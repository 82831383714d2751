/**
 * The browser's storage: values as JSON under names of this page. A value that is read may have any form, and a value
 * that is written may not be stored. The page works in both cases and tells the reader (keeping-note.tsx). Knows
 * nothing of what the values mean.
 */
import { useSyncExternalStore } from 'react';

/** `browser`: for all tabs, and for ever. `tab`: for this tab and its reloads. */
export type Place = 'browser' | 'tab';

/**
 * Pages of several services may come from one origin, each under its own path. The path is part of every name, so that
 * they don't share entries.
 */
const folder = new URL('.', document.baseURI).pathname;
const prefix = `llm-service:1:${folder === '/' ? '' : `${folder}:`}`;

export interface Keeping {
  /** Whether this browser lets the page store anything. */
  readonly possible: boolean;
  /** Whether a stored value could not be read. */
  readonly damaged: boolean;
}

let keeping: Keeping = { possible: canKeep(), damaged: false };
const listeners = new Set<() => void>();

export function useKeeping(): Keeping {
  return useSyncExternalStore(subscribe, () => keeping);
}

/**
 * Makes a value from what was stored. Calls `damaged` for each part that it leaves out, and returns undefined if it can
 * make nothing of it.
 */
export type Reader<T> = (value: unknown, damaged: () => void) => T | undefined;

/** Undefined if nothing is stored under the key, or if what is stored can't be read. */
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

/** Returns whether the value was stored. If it was not, the value that was stored before stays. */
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
    // Then nothing is stored there, so there is nothing to remove.
  }
}

/** The keys of this page that begin with `start`, each without that beginning. */
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

/** Calls `listener` when another tab has changed the value of the key. Returns a function that ends this. */
export function onStoredElsewhere(key: string, listener: () => void): () => void {
  const handle = (event: StorageEvent) => {
    if (event.key === null || event.key === prefix + key) listener();
  };
  addEventListener('storage', handle);
  return () => removeEventListener('storage', handle);
}

/** If a browser blocks a site's data, even naming the storage throws; in some browsers it is null. */
function storageOf(place: Place): Storage | undefined {
  try {
    return (place === 'browser' ? localStorage : sessionStorage) ?? undefined;
  } catch {
    return undefined;
  }
}

/** In private windows, some browsers have a storage that is empty and can store nothing. */
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
  // Reading may happen while a component renders, and React doesn't allow another component to change in that moment.
  queueMicrotask(() => {
    for (const listener of listeners) listener();
  });
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
