/**
 * A hook in a component that shows nothing, rendered by React's own DOM renderer into a container that holds nothing: hooks need no
 * browser, and no library that imitates one.
 */
import { createElement, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

// React looks there for the event that is being handled, and for the element that has the focus.
(globalThis as { window?: object }).window ??= { HTMLIFrameElement: Object };

const container = {
  nodeType: 1,
  nodeName: 'DIV',
  tagName: 'DIV',
  namespaceURI: 'http://www.w3.org/1999/xhtml',
  ownerDocument: null,
  textContent: '',
  addEventListener() {},
  removeEventListener() {},
};

export interface MountedHook<Props, Result> extends Disposable {
  /** What the hook has returned, at each render. */
  readonly results: readonly Result[];
  /** What it returned last. */
  readonly current: Result;
  /** Renders the component with other props. */
  render(props: Props): void;
  unmount(): void;
}

export function mountHook<Props, Result>(
  hook: (props: Props) => Result,
  props: Props,
  { strict = false }: { readonly strict?: boolean } = {},
): MountedHook<Props, Result> {
  const results: Result[] = [];
  function Component({ given }: { readonly given: Props }) {
    results.push(hook(given));
    return null;
  }
  const root = createRoot({ ...container });
  const render = (given: Props) => {
    const component = createElement(Component, { given });
    root.render(strict ? createElement(StrictMode, null, component) : component);
  };
  render(props);
  const unmount = () => root.unmount();
  return {
    results,
    get current() {
      if (results.length === 0) throw new Error('React has not rendered it yet');
      return results.at(-1)!;
    },
    render,
    unmount,
    [Symbol.dispose]: unmount,
  };
}
