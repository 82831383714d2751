/**
 * Keeps a scrolling box at its bottom while its content grows, unless the reader has scrolled up; back at the bottom,
 * it sticks again.
 */
import { useCallback, useRef, useState, type RefCallback } from 'react';

/** How near the bottom counts as there. */
const nearPx = 48;

export interface StickToBottom {
  /** On the box that scrolls; its only child is what grows. */
  readonly ref: RefCallback<HTMLElement>;
  /** False while the reader looks at what is further up. */
  readonly atBottom: boolean;
  readonly toBottom: () => void;
}

export function useStickToBottom(): StickToBottom {
  const sticking = useRef(true);
  const [atBottom, setAtBottom] = useState(true);
  const box = useRef<HTMLElement>(null);

  const ref = useCallback((element: HTMLElement | null) => {
    box.current = element;
    if (!element) return undefined;
    let lastTop = element.scrollTop;
    const grown = new ResizeObserver(() => {
      if (sticking.current) element.scrollTop = element.scrollHeight;
    });
    grown.observe(element);
    if (element.firstElementChild) grown.observe(element.firstElementChild);
    const scrolled = () => {
      const near = element.scrollHeight - element.scrollTop - element.clientHeight <= nearPx;
      // Growth moves the bottom away without a scroll; only going up is the reader's doing.
      if (near) sticking.current = true;
      else if (element.scrollTop < lastTop) sticking.current = false;
      lastTop = element.scrollTop;
      setAtBottom(sticking.current);
    };
    element.addEventListener('scroll', scrolled, { passive: true });
    return () => {
      grown.disconnect();
      element.removeEventListener('scroll', scrolled);
    };
  }, []);

  const toBottom = useCallback(() => {
    sticking.current = true;
    setAtBottom(true);
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }, []);

  return { ref, atBottom, toBottom };
}
