/** A key for a caller: one command makes it, and the service knows only its digest. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { readSettings, SettingsError } from '../src/settings/settings.ts';
import { commandLine } from './support/command-line.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startTestService } from './support/service.ts';

finishesCleanly();
vi.setConfig({ testTimeout: 60_000 });
const cli = commandLine();
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

describe('llm-service key', () => {
  it('prints a key and its entry, which a service takes, and explains both on stderr', async () => {
    const { code, stdout, stderr } = await cli.run(['key', 'alice']);
    const [key = '', entry = '', ...rest] = stdout.trimEnd().split('\n');
    expect({ code, rest }).toEqual({ code: 0, rest: [] });
    // 32 bytes in base64.
    expect(key).toMatch(/^llm_[\w-]{43}$/);
    expect(entry).toBe(`alice:${sha256(key)}`);
    expect(stderr).toMatch(/the key of alice\. It is shown only now/);
    expect(stderr).toMatch(/add it to LLM_API_KEYS/);
    expect(stderr).not.toContain(key);
    await using service = await startTestService({ env: { LLM_API_KEYS: entry } });
    const asked = await cli.run(['configs', '--url', service.url, '--token', key]);
    expect(asked).toMatchObject({ code: 0, stdout: expect.stringContaining('default') });
  });

  it('prints the entry of a file where keys are in one, which a running service takes', async () => {
    const file = join(cli.cwd, 'keys.json');
    const env = { LLM_API_KEYS_FILE: file };
    const { code, stdout, stderr } = await cli.run(['key', 'alice'], { env });
    const [key = '', entry = '', ...rest] = stdout.trimEnd().split('\n');
    expect({ code, rest }).toEqual({ code: 0, rest: [] });
    expect(JSON.parse(entry)).toEqual({ name: 'alice', sha256: sha256(key) });
    expect(stderr).toContain(`add it to the list in ${file}`);
    expect(stderr).not.toContain(key);
    await writeFile(file, `[${entry}]`);
    await using service = await startTestService({ env });
    const asked = await cli.run(['configs', '--url', service.url, '--token', key]);
    expect(asked).toMatchObject({ code: 0, stdout: expect.stringContaining('default') });
  });

  it('makes a new key each time, and says if the name has one already', async () => {
    const [first, second] = await Promise.all([
      cli.run(['key', 'alice'], { env: { LLM_API_KEYS: `bob:${sha256('b')}, alice:${sha256('a')}` } }),
      cli.run(['key', 'alice'], { env: { LLM_API_KEYS: `alice2:${sha256('b')}` } }),
    ]);
    expect(first.stdout).not.toBe(second.stdout);
    expect(first.stderr).toMatch(/has a key of alice already\. Both keys work/);
    expect(second.stderr).not.toMatch(/already/);
  });

  it.each(['', 'two words', 'a:b', 'a,b', 'ä', 'x'.repeat(65)])(
    'refuses a name that no entry can bear: %j',
    async (name) => {
      const ended = await cli.run(['key', name]);
      expect(ended).toMatchObject({ code: 2, stdout: '' });
      expect(ended.stderr).toMatch(/^error: expected a name of 1 to 64 letters, digits, "_", "-" and "\.", found "/);
    },
  );
});

describe('an entry of LLM_API_KEYS', () => {
  const digest = sha256('the-key');

  it.each([
    ['as sha256sum prints it', `alice:${digest}  -`],
    ['as sha256sum --binary prints it', `alice:${digest} *-`],
    ['in capitals', `alice:${digest.toUpperCase()}`],
    ['with blanks around', ` alice : ${digest} `],
  ])('may hold the digest %s', (_how, entry) => {
    const { apiKeys } = readSettings({ LLM_API_KEYS: `${entry},bob:${sha256('other')}` });
    expect(apiKeys).toEqual([
      { name: 'alice', sha256: digest },
      { name: 'bob', sha256: sha256('other') },
    ]);
  });

  it.each([
    ['the-key', 'no "name:" before a digest in entry 2 of 2'],
    [digest, 'no "name:" before a digest in entry 2 of 2'],
    [`two words:${digest}`, /a name that is not 1 to 64 letters.* in entry 2 of 2$/],
    [`alice:${digest.slice(1)}`, 'a digest of 63 digits in entry 2 of 2'],
    ['alice:the-key', 'no digest (perhaps the key itself) in entry 2 of 2'],
    [`alice:${sha256('')}`, 'the digest of nothing, as of an unset $KEY, in entry 2 of 2'],
  ])('is refused with what is wrong, and never quoted: %s', (entry, flaw) => {
    const read = () => readSettings({ LLM_API_KEYS: `bob:${sha256('other')},${entry}` });
    expect(read).toThrow(SettingsError);
    expect(read).toThrow(flaw);
    expect(read).not.toThrow(/the-key/);
  });
});
