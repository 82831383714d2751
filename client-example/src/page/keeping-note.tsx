/** Tells the reader if this browser stores nothing for the page, or has lost some of what it stored. */
import { useState } from 'react';
import { Icon } from './icon.tsx';
import { useKeeping } from './storage.ts';

export function KeepingNote() {
  const { possible, damaged } = useKeeping();
  const [dismissed, setDismissed] = useState(false);
  if (dismissed || (possible && !damaged)) return null;
  return (
    <p className="service-note" role="status">
      <span>
        {possible
          ? 'Some of what this browser had stored could not be read, and is not shown.'
          : 'Your browser doesn’t let this page store anything. Your conversations are lost when you close or reload it.'}
      </span>
      <button type="button" className="icon-button" aria-label="Dismiss" onClick={() => setDismissed(true)}>
        <Icon name="close" />
      </button>
    </p>
  );
}
