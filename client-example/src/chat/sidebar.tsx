/** The conversations that this browser stores, and the settings of the page. */
import { useEffect } from 'react';
import { Icon, type IconName } from '../page/icon.tsx';
import type { Theme } from '../page/settings.ts';
import { removeConversation, titleOf, type Conversation } from './conversations.ts';

export interface SidebarProps {
  readonly open: boolean;
  readonly conversations: readonly Conversation[];
  readonly currentId: string;
  readonly running: ReadonlySet<string>;
  readonly theme: Theme;
  readonly onTheme: (theme: Theme) => void;
  readonly onOpen: (id: string | undefined) => void;
  readonly onClose: () => void;
}

const themes: readonly { readonly theme: Theme; readonly icon: IconName; readonly label: string }[] = [
  { theme: 'auto', icon: 'auto', label: 'As the system' },
  { theme: 'light', icon: 'sun', label: 'Light' },
  { theme: 'dark', icon: 'moon', label: 'Dark' },
];

export function Sidebar(props: SidebarProps) {
  const { open, conversations, currentId, running, theme, onTheme, onOpen, onClose } = props;
  useEffect(() => {
    if (!open) return undefined;
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      event.preventDefault();
      onClose();
    };
    // In the capture phase, so that Escape closes the menu and doesn't stop the answer.
    addEventListener('keydown', onKeyDown, { capture: true });
    return () => removeEventListener('keydown', onKeyDown, { capture: true });
  }, [open, onClose]);
  return (
    <>
      {open && (
        <button type="button" className="scrim" tabIndex={-1} aria-label="Close conversations" onClick={onClose} />
      )}
      <nav className="sidebar" data-open={open} aria-label="Conversations">
        <p className="brand">
          <img src="favicon.svg" alt="" width="22" height="22" /> llm-service
        </p>
        <button type="button" className="button new" onClick={() => onOpen(undefined)}>
          <Icon name="plus" /> New chat
        </button>
        <ul>
          {conversations.map((conversation) => {
            const { id } = conversation;
            const title = titleOf(conversation) ?? 'Empty';
            return (
              <li key={id} data-current={id === currentId}>
                <a href={`#${id}`} aria-current={id === currentId ? 'page' : undefined} onClick={onClose}>
                  {running.has(id) && <i className="running" role="img" aria-label="running" />}
                  {title}
                </a>
                <button
                  type="button"
                  className="icon-button"
                  aria-label={`Delete “${title}”`}
                  title="Delete"
                  onClick={() => {
                    removeConversation(id);
                    if (id === currentId) onOpen(undefined);
                  }}
                >
                  <Icon name="trash" />
                </button>
              </li>
            );
          })}
        </ul>
        <fieldset className="segmented themes">
          <legend className="visually-hidden">Theme</legend>
          {themes.map(({ theme: each, icon, label }) => (
            <label key={each} title={label}>
              <input
                type="radio"
                name="theme"
                aria-label={label}
                checked={theme === each}
                onChange={() => onTheme(each)}
              />
              <span>
                <Icon name={icon} />
              </span>
            </label>
          ))}
        </fieldset>
      </nav>
    </>
  );
}
