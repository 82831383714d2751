/**
 * Asks for the key of a service that needs one. The page keeps it in this tab's session storage and sends it only in
 * headers.
 */
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
        <p>Enter a key that the service knows. It stays in this tab, and is deleted when the tab is closed.</p>
        {refused && <p role="alert">The service doesn’t know this key.</p>}
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
