/** `key`: a new key for a caller, shown this once, and the entry by which the service knows it. */
import { createKey, entryOf, isKeyName, keyNameExpected } from '../access/api-keys.ts';
import { quote } from '../settings/problems.ts';
import { UsageError } from './exit-codes.ts';
import type { Host } from './host.ts';

/** Two lines on stdout: the key, and its entry. @throws UsageError if no caller may bear the name. */
export async function makeKey({ env, stdout, note }: Host, name: string): Promise<void> {
  if (!isKeyName(name)) throw new UsageError(`expected a name of ${keyNameExpected}, found ${quote(name)}`);
  const key = createKey();
  await stdout.write(`${key}\n${entryOf(name, key)}\n`);
  note(`The first line is the key of ${name}, shown this once: hand it over, and keep it nowhere else.`);
  note(
    'The second is its entry: add it to LLM_API_KEYS, behind a comma if others are there, and start the service anew.',
  );
  if (env['LLM_API_KEYS']?.split(',').some((entry) => entry.trim().startsWith(`${name}:`))) {
    note(`LLM_API_KEYS has a key of ${name} already. Both work until you take the old entry out.`);
  }
}
