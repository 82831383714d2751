/** `key`: prints a new key for a caller, and the entry by which the service recognizes the key. */
import { createKey, entryOf, fileEntryOf, isKeyName, keyNameExpected } from '../access/api-keys.ts';
import { quote } from '../settings/problems.ts';
import { UsageError } from './exit-codes.ts';
import type { Host } from './host.ts';

/**
 * Prints two lines to stdout: the key, and its entry, for the file if there is one.
 *
 * @throws UsageError if no caller can have the name.
 */
export async function makeKey({ env, stdout, note }: Host, name: string): Promise<void> {
  if (!isKeyName(name)) throw new UsageError(`expected a name of ${keyNameExpected}, found ${quote(name)}`);
  const key = createKey();
  const file = env['LLM_API_KEYS_FILE']?.trim();
  await stdout.write(`${key}\n${file ? fileEntryOf(name, key) : entryOf(name, key)}\n`);
  note(`The first line is the key of ${name}. It is shown only now: give it to ${name}, and keep no copy.`);
  if (file) {
    note(`The second line is its entry: add it to the list in ${file}, which a running service reads again at once.`);
    return;
  }
  note(
    'The second line is its entry: add it to LLM_API_KEYS, after a comma if there are others, and restart the service.',
  );
  note(`For a file of LLM_API_KEYS_FILE, which needs no restart, the entry is: ${fileEntryOf(name, key)}`);
  if (env['LLM_API_KEYS']?.split(',').some((entry) => entry.trim().startsWith(`${name}:`))) {
    note(`LLM_API_KEYS has a key of ${name} already. Both keys work until you remove the old entry.`);
  }
}
