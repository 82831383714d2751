/** Which conversation the address names: `#<id>`, so that a reload, a second tab and Back show the same one. */
import { useSyncExternalStore } from 'react';

/** Undefined where it names none. */
export function useConversationId(): string | undefined {
  return useSyncExternalStore(subscribe, () => location.hash.slice(1) || undefined);
}

/** Names another one, as a step in the browser's history or in place of the current one. */
export function showConversation(id: string | undefined, { replace = false } = {}): void {
  const url = id === undefined ? location.pathname + location.search : `#${id}`;
  if (replace) history.replaceState(null, '', url);
  else history.pushState(null, '', url);
  dispatchEvent(new Event('hashchange'));
}

function subscribe(listener: () => void): () => void {
  addEventListener('hashchange', listener);
  addEventListener('popstate', listener);
  return () => {
    removeEventListener('hashchange', listener);
    removeEventListener('popstate', listener);
  };
}
