/** Says where this browser keeps nothing for the page, or has lost some of what it kept. */
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
          ? 'Some of what this browser had kept here could not be read, and was left out.'
          : 'Your browser lets this page keep nothing. Your conversations are here until you close or reload it.'}
      </span>
      <button type="button" className="icon-button" aria-label="Dismiss" onClick={() => setDismissed(true)}>
        <Icon name="close" />
      </button>
    </p>
  );
}
