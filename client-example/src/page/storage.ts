/**
 * The browser's storage, as JSON under names of our own. A browser that keeps nothing (a private window, a full disk)
 * costs persistence and no more. Knows nothing of what is kept.
 */
const prefix = 'llm-service:1:';

/** Undefined where nothing is kept. What is there was written under the same prefix, so by this version of the page. */
export function readStored(key: string, storage: Storage = localStorage): unknown {
  try {
    const text = storage.getItem(prefix + key);
    return text === null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether it was kept. */
export function writeStored(key: string, value: unknown, storage: Storage = localStorage): boolean {
  try {
    storage.setItem(prefix + key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function removeStored(key: string, storage: Storage = localStorage): void {
  try {
    storage.removeItem(prefix + key);
  } catch {
    // Nothing is kept there then.
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
