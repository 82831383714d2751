/**
 * What a browser says of its network and of its page: that it is offline, that it is online again, that a page is
 * looked at again. Elsewhere there are no such events, and nothing is ever offline.
 */

/** `online`: there is a network again. `shown`: the page can be seen again; meanwhile it may have been frozen. */
export type Return = 'online' | 'shown';

interface Target {
  addEventListener(type: string, listener: () => void): void;
  removeEventListener(type: string, listener: () => void): void;
}

interface Browser extends Partial<Target> {
  readonly navigator?: { readonly onLine?: boolean };
  readonly document?: Partial<Target> & { readonly visibilityState?: string };
}

/** Only `false` can be trusted: a browser takes any network for being online. */
export function isOffline(): boolean {
  return (globalThis as Browser).navigator?.onLine === false;
}

/** Calls back until the function that it returns is called. */
export function listenForReturns(tell: (back: Return) => void): () => void {
  const { document, navigator } = globalThis as Browser;
  const online = () => tell('online');
  const shown = () => tell('shown');
  const visible = () => {
    if (document?.visibilityState === 'visible') shown();
  };
  const each = (method: keyof Target) => {
    const page = globalThis as Browser;
    // Other runtimes have the function, and none of the events.
    if (typeof navigator?.onLine === 'boolean') page[method]?.('online', online);
    if (!document) return;
    page[method]?.('pageshow', shown);
    document[method]?.('visibilitychange', visible);
  };
  each('addEventListener');
  return () => each('removeEventListener');
}
