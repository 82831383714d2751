/**
 * Listens to what a browser reports about its network and its page: whether it is offline, when it is online again,
 * when the page is shown again. Other runtimes report nothing, and are never offline.
 */

/** `online`: the browser has a network again. `shown`: the page is visible again, after it may have been frozen. */
export type Return = 'online' | 'shown';

interface Target {
  addEventListener(type: string, listener: () => void): void;
  removeEventListener(type: string, listener: () => void): void;
}

interface Browser extends Partial<Target> {
  readonly navigator?: { readonly onLine?: boolean };
  readonly document?: Partial<Target> & { readonly visibilityState?: string };
}

/**
 * Whether the browser is certainly offline. `navigator.onLine` is true with any network, also with one that leads
 * nowhere.
 */
export function isOffline(): boolean {
  return (globalThis as Browser).navigator?.onLine === false;
}

/** Calls `onReturn` until the returned function is called. */
export function listenForReturns(onReturn: (back: Return) => void): () => void {
  const { document, navigator } = globalThis as Browser;
  const online = () => onReturn('online');
  const shown = () => onReturn('shown');
  const visible = () => {
    if (document?.visibilityState === 'visible') shown();
  };
  const each = (method: keyof Target) => {
    const page = globalThis as Browser;
    // Other runtimes have `addEventListener`, but `onLine` only exists where the event does.
    if (typeof navigator?.onLine === 'boolean') page[method]?.('online', online);
    if (!document) return;
    page[method]?.('pageshow', shown);
    document[method]?.('visibilitychange', visible);
  };
  each('addEventListener');
  return () => each('removeEventListener');
}
