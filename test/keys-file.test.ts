/** Keys from a file: it is read again when it changes, and a key that is gone from it counts no more, for what is open neither. */
import { describe, expect, it } from 'vitest';
import { Keys } from '../src/access/keys.ts';
import { readSettings, SettingsError } from '../src/settings/settings.ts';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { doors, readAll, refusalOf, terminalOf } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { keyFileForEachTest, sha256 } from './support/key-file.ts';
import { send } from './support/raw-http.ts';
import { openSocket, query } from './support/raw-websocket.ts';
import { ask, startTestService, type TestService } from './support/service.ts';

finishesCleanly();
const file = keyFileForEachTest();
const key = (name: string, secret = `key-of-${name}`) => ({ name, sha256: sha256(secret) });
const tokenOf = (name: string) => `key-of-${name}`;

async function startWith(keys: unknown, telemetry?: Telemetry): Promise<TestService> {
  await file.write(keys);
  return startTestService({ env: { LLM_API_KEYS_FILE: file.path }, ...(telemetry && { telemetry }) });
}

/** The status of a plain request with a key. */
async function statusOf({ url }: TestService, token: string): Promise<number> {
  return (await send(`${url}/api/llm/configs`, { headers: { authorization: `Bearer ${token}` } })).status;
}

describe.each(doors)('over $name', (door) => {
  it('a key of the file is let in, and no other', async () => {
    await using service = await startWith([key('alice')]);
    expect(terminalOf(await readAll(door.stream(service.url, ask('hi'), tokenOf('alice')))).type).toBe('done');
    expect(await refusalOf(door.stream(service.url, ask('hi'), tokenOf('bob')))).toMatchObject({
      code: 'unauthorized',
    });
    expect(service.upstream.requestCount).toBe(1);
  });

  it('a key that is removed loses its open stream, and another key of its caller goes on with the generation', async () => {
    await using service = await startWith([key('alice'), key('alice', 'next')]);
    service.upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const lost = door.stream(service.url, ask('hi', { generationId }), tokenOf('alice'));
    const request = await service.upstream.nextRequest();
    await request.text('one ');
    await lost.until((event) => event.type === 'text');
    const kept = door.follow(service.url, { generationId }, 'next');
    await kept.until((event) => event.type === 'text');

    await file.write([key('alice', 'next')]);
    // REST's reader doesn't come back by itself: its response ends without a terminal event.
    if (door.name === 'rest') await lost.completed;
    else expect(await refusalOf(lost)).toMatchObject({ code: 'unauthorized' });
    expect(lost.seen.some(({ event }) => event.type === 'done')).toBe(false);

    await request.text('two');
    request.finish();
    expect(terminalOf(await readAll(kept)).type).toBe('done');
    expect(service.upstream.requestCount).toBe(1);
  });

  it('a stream outlives the time at which its key expires, and no new one starts', async () => {
    await using service = await startWith([
      { ...key('alice'), expires_at: new Date(Date.now() + 3_000).toISOString() },
      { ...key('bob'), expires_at: '2020-01-01T00:00:00+02:00' },
    ]);
    expect(await refusalOf(door.stream(service.url, ask('hi'), tokenOf('bob')))).toMatchObject({
      code: 'unauthorized',
      message: 'This key has expired',
    });
    service.upstream.enqueue({ kind: 'manual' });
    const view = door.stream(service.url, ask('hi'), tokenOf('alice'));
    const request = await service.upstream.nextRequest();
    await eventually(async () => expect(await statusOf(service, tokenOf('alice'))).toBe(401));
    await request.text('late');
    request.finish();
    expect(terminalOf(await readAll(view)).type).toBe('done');
  });
});

describe('the file', () => {
  it('is read again when it changes: a new key counts, and a removed one doesn’t', async () => {
    await using service = await startWith([key('alice')]);
    expect(await statusOf(service, tokenOf('bob'))).toBe(401);
    await file.write([key('alice'), key('bob')]);
    await eventually(async () => expect(await statusOf(service, tokenOf('bob'))).toBe(200));
    await file.write([key('bob')]);
    await eventually(async () => expect(await statusOf(service, tokenOf('alice'))).toBe(401));
    expect(await statusOf(service, tokenOf('bob'))).toBe(200);
  });

  it('closes the idle socket of a key that is removed or given to another caller, and no other socket', async () => {
    await using service = await startWith([key('alice'), key('bob'), key('carol')]);
    const open = async (name: string) => {
      const socket = await openSocket(service.url, '?connectionParams=1');
      socket.send({ method: 'connectionParams', data: { token: tokenOf(name) } });
      socket.send(query(1, 'llm.configs'));
      expect((await socket.next()).result).toBeDefined();
      return socket;
    };
    using removed = await open('alice');
    using given = await open('bob');
    using kept = await open('carol');
    await file.write([key('dave', tokenOf('bob')), { ...key('carol'), configs: ['default'] }]);
    expect(await removed.closed).toBe(1008);
    expect(await given.closed).toBe(1008);
    kept.send(query(2, 'llm.configs'));
    expect(await kept.next()).toMatchObject({ id: 2, result: { data: { json: [{ name: 'default' }] } } });
  });

  it('without any key lets nobody in', async () => {
    await using service = await startWith([]);
    expect(await statusOf(service, tokenOf('alice'))).toBe(401);
    expect((await send(`${service.url}/api/llm/configs`)).status).toBe(401);
  });

  it('that can’t be taken is refused with reasons, and the old keys stay', async () => {
    const lines: string[] = [];
    const telemetry = new Telemetry({
      logLevel: 'info',
      logContent: false,
      destination: { write: (line) => void lines.push(line) },
    });
    await using service = await startWith([key('alice')], telemetry);
    await file.write([{ name: 'alice', sha256: tokenOf('alice') }]);
    await eventually(() => expect(lines.join('')).toContain('keys refused, the old ones stay'));
    expect(lines.join('')).toContain('[0].sha256');
    expect(lines.join('')).not.toContain(tokenOf('alice'));
    expect(await statusOf(service, tokenOf('alice'))).toBe(200);
  });

  it('is read again at once when the service is told to read its configs again', async () => {
    await using service = await startWith([key('alice')]);
    await file.write([key('bob')]);
    await service.service.reload();
    expect(await statusOf(service, tokenOf('bob'))).toBe(200);
    expect(await statusOf(service, tokenOf('alice'))).toBe(401);
  });

  it.each([
    ['no JSON', '[{', /expected JSON: .* in line 1, column 3/],
    ['nothing in it', '', /expected JSON: .* in line 1, column 1/],
    ['a comment', '[\n  // of alice\n]', /expected JSON: .* in line 2, column 3; JSON has no comments/],
    ['a comma too many', `[${JSON.stringify(key('a'))},\n]`, /expected JSON: .* in line 2, column 1/],
    ['text in UTF-16', Buffer.from('\uFEFF[]', 'utf16le'), /expected UTF-8, found UTF-16/],
    [
      'a map of names',
      { alice: sha256('a') },
      /expected a list of keys, as \[\{"name": …, "sha256": …\}\], found an object/,
    ],
    [
      'entries of LLM_API_KEYS',
      [`alice:${sha256('the-key')}`],
      /\[0\]: expected an object, found text, not shown here/,
    ],
    [
      'a digest that lacks a digit',
      [{ ...key('a'), sha256: sha256('a').slice(1) }],
      /\[0\]\.sha256: expected the 64 hex/,
    ],
    ['a field twice', `[{"name":"a","name":"b","sha256":"${sha256('a')}"}]`, /a key that its map has twice in line 1/],
    ['no list', {}, /expected a list of keys/],
    ['no name', [{ sha256: sha256('a') }], /\[0\]\.name: expected 1 to 64 letters/],
    ['a name that no entry can bear', [{ name: 'a b', sha256: sha256('a') }], /\[0\]\.name: expected 1 to 64 letters/],
    [
      'a key in place of its digest',
      [key('a'), { name: 'b', sha256: 'the-key' }],
      /\[1\]\.sha256: expected the 64 hex/,
    ],
    ['the digest of nothing', [key('a', '')], /\[0\]\.sha256: expected the digest of a key/],
    ['a time without a zone', [{ ...key('a'), expires_at: '2030-01-01' }], /\[0\]\.expires_at: expected a time/],
    ['a list that is none', [{ ...key('a'), configs: 'default' }], /\[0\]\.configs: expected a list of names/],
    ['an unknown field', [{ ...key('a'), config: [] }], /\[0\]\.config: unknown key; did you mean "configs"\?/],
    ['an unknown limit', [{ ...key('a'), limits: { messages_max: 1 } }], /\[0\]\.limits\.messages_max: unknown key/],
    [
      'a limit that is no number',
      [{ ...key('a'), limits: { LLM_COST_PER_CALLER_PER_DAY_MAX: '1' } }],
      /\[0\]\.limits\.cost_per_caller_per_day_max: expected a number of at least 0/,
    ],
    ['a key twice', [key('a'), key('b', 'key-of-a')], /\[1\]\.sha256: expected each key once, found that of \[0\]/],
  ])('with %s stops the start, and is never quoted', async (_what, content, problem) => {
    const start = startWith(content);
    await expect(start).rejects.toThrow(SettingsError);
    await expect(start).rejects.toThrow(problem);
    await expect(start).rejects.not.toThrow(/the-key/);
  });

  it.each([
    ['begins with a byte order mark', (text: string) => `\uFEFF${text}`],
    ['has its digests in capitals', (text: string) => text.replaceAll(/[0-9a-f]{64}/g, (hex) => hex.toUpperCase())],
    ['has them as sha256sum prints them', (text: string) => text.replaceAll(/[0-9a-f]{64}/g, '$&  -')],
    ['has line ends of Windows', (text: string) => text.replaceAll(',', ',\r\n')],
    ['names a caller twice, for a rotation', (text: string) => text.replace('"bob"', '"alice"')],
  ])('that %s is taken', async (_how, rewritten) => {
    await using service = await startWith(rewritten(JSON.stringify([key('alice'), key('bob')])));
    for (const name of ['alice', 'bob']) expect(await statusOf(service, tokenOf(name)), name).toBe(200);
  });

  it('that has the digest of a key with a line break behind it refuses the key, and says so to whoever has it', async () => {
    await using service = await startWith([key('alice', 'key-of-alice\n'), key('bob', 'key-of-bob\r\n')]);
    const answerTo = async (token: string) =>
      (await send(`${service.url}/api/llm/configs`, { headers: { authorization: `Bearer ${token}` } })).text;
    for (const name of ['alice', 'bob']) expect(await answerTo(tokenOf(name))).toContain('with a line break behind it');
    expect(await answerTo('key-of-carol')).toContain('This key is not known here"');
  });

  it('that names a config that there isn’t, or a key that has expired, is taken with a warning', async () => {
    const lines: string[] = [];
    const telemetry = new Telemetry({
      logLevel: 'warn',
      logContent: false,
      destination: { write: (line) => void lines.push(line) },
    });
    await using _service = await startWith(
      [
        { ...key('alice'), configs: ['default', 'welcom'] },
        { ...key('bob'), expires_at: '2020-01-01T00:00:00Z' },
      ],
      telemetry,
    );
    await telemetry.flush();
    const line = lines.map((each) => JSON.parse(each) as { msg: string }).find(({ msg }) => msg.startsWith('keys'));
    expect(line).toMatchObject({
      msg: 'keys are taken with warnings',
      warnings: [
        {
          path: '[0].configs[1]',
          message: 'expected the name of a config, found "welcom"; did you mean "welcome"?',
        },
        { path: '[1].expires_at', message: 'expected a time to come, found one that is over' },
      ],
    });
  });

  it('that is missing stops the start', async () => {
    const start = startTestService({ env: { LLM_API_KEYS_FILE: `${file.path}.not` } });
    await expect(start).rejects.toThrow(/LLM_API_KEYS_FILE: .*keys\.json\.not holds no keys .*\n.*found ENOENT/);
  });
});

it('a request that is under way when its key is revoked opens nothing any more', () => {
  const keys = new Keys([key('alice')], { fixed: false });
  const caller = keys.find(tokenOf('alice'))!;
  keys.replace([]);
  expect(() => keys.onGone(caller, () => {})).toThrow(expect.objectContaining({ code: 'unauthorized' }));
});

it('a file is enough to listen beyond loopback, and contradicts LLM_API_KEYS and LLM_AUTH', () => {
  const env = { HOST: '0.0.0.0', LLM_API_KEYS_FILE: 'keys.json' };
  expect(readSettings(env).apiKeysFile).toBe('keys.json');
  expect(() => readSettings({ ...env, LLM_API_KEYS: `a:${sha256('a')}` })).toThrow(
    'LLM_API_KEYS_FILE: expected nothing, since LLM_API_KEYS is set',
  );
  expect(() => readSettings({ ...env, LLM_AUTH: 'none' })).toThrow(
    'LLM_AUTH: expected nothing, since LLM_API_KEYS_FILE is set',
  );
});
