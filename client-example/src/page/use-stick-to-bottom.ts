/**
 * Keeps a scrolling box at its bottom while its content grows. If the reader scrolls up, the box stays where it is
 * until the reader is back at the bottom.
 */
import { useCallback, useRef, useState, type RefCallback } from 'react';

/** The reader is at the bottom if the bottom is nearer than this. */
const nearPx = 48;

export interface StickToBottom {
  /** For the box that scrolls. Its only child is the content that grows. */
  readonly ref: RefCallback<HTMLElement>;
  /** False while the reader has scrolled up. */
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
      // If the content grows, the bottom moves away without a scroll. So only a scroll upwards is the reader's choice.
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
