/** Asks for the key of a service that needs one. It is kept for this tab's session and sent in headers only. */
import { useState } from 'react';

export function KeyForm({ refused, onKey }: { refused: boolean; onKey: (key: string) => void }) {
  const [key, setKey] = useState('');
  return (
    <main className="key-form">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (key.trim() !== '') onKey(key.trim());
        }}
      >
        <h1>This service needs a key</h1>
        <p>It is one of those in its LLM_API_KEYS. It stays in this tab, and is gone when the tab is closed.</p>
        {refused && <p role="alert">That key is not known here.</p>}
        <label>
          <span>Key</span>
          <input
            type="password"
            autoFocus
            autoComplete="off"
            value={key}
            onChange={({ target }) => setKey(target.value)}
          />
        </label>
        <button type="submit" className="button primary" disabled={key.trim() === ''}>
          Go on
        </button>
      </form>
    </main>
  );
}
