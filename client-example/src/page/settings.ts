/** The reader's choices, kept in this browser. Also applies the theme. */
import { useEffect, useState } from 'react';
import type { Transport } from './connection.ts';
import { isRecord } from './is-record.ts';
import { readStored, writeStored } from './storage.ts';

const themes = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof themes)[number];

export interface Settings {
  readonly theme: Theme;
  readonly transport: Transport;
  readonly labOpen: boolean;
}

/**
 * With `ws` all answers of a page share one WebSocket. With `sse` each has its own connection, and over HTTP/1.1 a
 * browser opens six to a host, for all tabs together.
 */
const defaults: Settings = { theme: 'auto', transport: 'ws', labOpen: false };
const key = 'settings';

export function useSettings(): readonly [Settings, (change: Partial<Settings>) => void] {
  const [settings, setSettings] = useState<Settings>(() => readStored(key, settingsFrom) ?? defaults);
  const { theme } = settings;
  useEffect(() => {
    if (theme === 'auto') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
  }, [theme]);
  return [
    settings,
    (change) => {
      const next = { ...settings, ...change };
      writeStored(key, next);
      setSettings(next);
    },
  ];
}

function settingsFrom(value: unknown, damaged: () => void): Settings | undefined {
  if (!isRecord(value)) return undefined;
  function pick<Name extends keyof Settings>(name: Name, allowed: readonly Settings[Name][]): Settings[Name] {
    const found = allowed.find((each) => each === (value as Record<string, unknown>)[name]);
    if (found === undefined && name in (value as object)) damaged();
    return found ?? defaults[name];
  }
  return {
    theme: pick('theme', themes),
    transport: pick('transport', ['sse', 'ws']),
    labOpen: pick('labOpen', [true, false]),
  };
}
