/** The environment variables that a config names, and what is wrong with their values. No message holds a name or a value. */
import { headerValueExpected, isHeaderValue, secretIn } from '../upstream/address/headers.ts';
import type { ConfigEntry, NamedVariable } from './config-entry.ts';
import { configKeys } from './config-keys.ts';

/** The environment variables that a written config names, each with its path in the config. A key that is wrong names none. */
export function variablesOf(written: Readonly<Record<string, unknown>>): readonly NamedVariable[] {
  return Object.entries<ConfigEntry>(configKeys).flatMap(([key, entry]) => {
    if (!entry.variables) return [];
    const value = entry.rule.safeParse(written[key]).data;
    const named = value === undefined ? [] : entry.variables(value);
    return named.map(([path, name]): NamedVariable => [[key, ...path], name]);
  });
}

/**
 * What is wrong with a variable that a config names; undefined if nothing is. The name isn't repeated, since somebody may have
 * pasted a key in its place.
 */
export function variableProblem(env: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  const value = secretIn(env, name);
  if (value === undefined) return 'expected the name of an environment variable that is set, found one that is not';
  return isHeaderValue(value)
    ? undefined
    : `expected ${headerValueExpected} in that environment variable, found others, since a header carries them`;
}
