/** The conversation that the address names: `#<id>`. So a reload, a second tab and Back show the same conversation. */
import { useSyncExternalStore } from 'react';

/** Undefined if the address names none. */
export function useConversationId(): string | undefined {
  return useSyncExternalStore(subscribe, () => location.hash.slice(1) || undefined);
}

/**
 * Makes the address name another conversation: as a new step in the browser's history, or with `replace` in place of
 * the current step.
 */
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
