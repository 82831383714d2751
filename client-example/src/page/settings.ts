/** What the reader chose for this browser, and the theme put into effect. */
import { useEffect, useState } from 'react';
import { readStored, writeStored } from './storage.ts';
import type { Transport } from './connection.ts';

export type Theme = 'auto' | 'light' | 'dark';

export interface Settings {
  readonly theme: Theme;
  readonly transport: Transport;
  readonly labOpen: boolean;
}

const defaults: Settings = { theme: 'auto', transport: 'sse', labOpen: false };
const key = 'settings';

export function useSettings(): readonly [Settings, (change: Partial<Settings>) => void] {
  const [settings, setSettings] = useState<Settings>(() => ({
    ...defaults,
    ...(readStored(key) as Partial<Settings> | undefined),
  }));
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
