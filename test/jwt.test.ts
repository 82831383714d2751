/** Callers by the tokens of an issuer: who is let in, who is not, and what an issuer that fails does to the service. */
import type { ServerResponse } from 'node:http';
import { UnsecuredJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { RemoteKeySet } from '../src/access/key-sets.ts';
import { doubtsOf, readSettings, SettingsError } from '../src/settings/settings.ts';
import { doors, readAll, refusalOf, terminalOf } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import {
  audience,
  createSigner,
  issuerName,
  signed,
  startIssuer,
  type Claims,
  type Issuer,
  type Signer,
} from './support/issuer.ts';
import { keyFileForEachTest, sha256 } from './support/key-file.ts';
import { send, upgrade } from './support/raw-http.ts';
import { openSocket, query } from './support/raw-websocket.ts';
import { ask, startTestService, type TestService } from './support/service.ts';

finishesCleanly();

interface Parts extends AsyncDisposable {
  readonly issuer: Issuer;
  readonly signer: Signer;
  readonly service: TestService;
}

async function start(env: Readonly<Record<string, string>> = {}): Promise<Parts> {
  const issuer = await startIssuer();
  const signer = await issuer.addSigner('one');
  const service = await startTestService({ env: { ...issuer.env, ...env } });
  return {
    issuer,
    signer,
    service,
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await issuer[Symbol.asyncDispose]();
    },
  };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** `ok`, or the code of the refusal, for a plain request. */
async function verdictOn({ url }: TestService, token: string): Promise<string> {
  const { status, text } = await send(`${url}/api/llm/configs`, { headers: bearer(token) });
  return status === 200 ? 'ok' : (JSON.parse(text) as { error: { code: string } }).error.code;
}

const nowS = () => Math.floor(Date.now() / 1_000);

describe.each(doors)('over $name', (door) => {
  it('a good token is let in, and its subject owns the generation', async () => {
    await using parts = await start();
    const { service, signer } = parts;
    const generationId = crypto.randomUUID();
    const seen = await readAll(door.stream(service.url, ask('hi', { generationId }), await signer.token()));
    expect(terminalOf(seen).type).toBe('done');
    // Another token of the same subject.
    const again = await readAll(door.follow(service.url, { generationId }, await signer.token({ jti: 'two' })));
    expect(again).toEqual(seen);
    const other = door.follow(service.url, { generationId }, await signer.token({ sub: 'bob' }));
    expect(await refusalOf(other)).toMatchObject({ code: 'generation_not_found' });
  });

  const bad: readonly (readonly [string, Claims, string])[] = [
    ['has expired', { exp: nowS() - 60 }, 'This token has expired'],
    ['never expires', { exp: undefined }, 'This token never expires, which is not allowed here'],
    ['is not valid yet', { nbf: nowS() + 3_600 }, 'This token is not valid yet'],
    ['is from another issuer', { iss: 'https://evil.example' }, 'This token is from another issuer'],
    ['is from no issuer', { iss: undefined }, 'This token is from another issuer'],
    ['is for another audience', { aud: 'other' }, 'This token is for another audience'],
    ['is for no audience', { aud: undefined }, 'This token is for another audience'],
    ['names no caller', { sub: '' }, 'This token names no caller: expected text in its claim "sub"'],
  ];

  it('a token that is bad in any way is refused with the reason, and nothing is run', async () => {
    await using parts = await start();
    const { service, signer, issuer } = parts;
    const tokens: (readonly [string, string, string])[] = [];
    for (const [what, claims, message] of bad) tokens.push([what, await signer.token(claims), message]);
    const stranger = await createSigner('one');
    const unknown = await createSigner('two');
    const [head = '', body = '', signature = ''] = (await signer.token()).split('.');
    const notSigned = 'This token is not signed by a key of its issuer';
    const wrongWay = 'This token is signed in a way that is not allowed here';
    const publicKey = new TextEncoder().encode(signer.spki);
    const claims = { iss: issuerName, aud: audience, sub: 'alice', exp: nowS() + 600 };
    tokens.push(
      ['is signed by another key of that name', await stranger.token(), notSigned],
      ['is signed by an unknown key', await unknown.token(), notSigned],
      [
        'was changed',
        `${head}.${Buffer.from(JSON.stringify({ ...claims, sub: 'root' })).toString('base64url')}.${signature}`,
        notSigned,
      ],
      ['has the algorithm none', new UnsecuredJWT(claims).encode(), wrongWay],
      [
        'is signed with the public key as a secret',
        await signed({}, (jwt) => jwt.setProtectedHeader({ alg: 'HS256', kid: 'one' }).sign(publicKey)),
        wrongWay,
      ],
      ['is cut off', `${head}.${body}.`, 'This token'],
      ['is no token', 'a.b.c', 'This token can’t be read'],
      ['is a key', 'sk-alice', 'This key is not known here'],
    );
    for (const [what, token, message] of tokens) {
      const refusal = await refusalOf(door.stream(service.url, ask('hi'), token));
      expect(refusal, what).toMatchObject({ code: 'unauthorized', retryable: false });
      expect(refusal.message, what).toContain(message);
    }
    expect(service.upstream.requestCount).toBe(0);
    expect(issuer.reads).toBeLessThanOrEqual(6);
  });

  it('a rotated key of the issuer is taken at once, and no start is taken any more by the one before', async () => {
    await using parts = await start();
    const { service, signer, issuer } = parts;
    const before = await signer.token();
    service.upstream.enqueue({ kind: 'manual' });
    const running = door.stream(service.url, ask('hi'), before);
    const request = await service.upstream.nextRequest();
    issuer.keys = [];
    const next = await issuer.addSigner('two');
    expect(terminalOf(await readAll(door.stream(service.url, ask('hi'), await next.token()))).type).toBe('done');
    const refused = await refusalOf(door.stream(service.url, ask('hi'), before));
    expect(refused).toMatchObject({
      code: 'unauthorized',
      message: 'This token is not signed by a key of its issuer',
    });
    request.finish();
    expect(terminalOf(await readAll(running)).type).toBe('done');
    expect(service.upstream.requestCount).toBe(2);
  });

  it('while the issuer is down a token is refused as at_capacity, a key is taken, and so is the token afterwards', async () => {
    await using issuer = await startIssuer();
    const signer = await issuer.addSigner('one');
    issuer.answer = (response) => void response.destroy();
    await using service = await startTestService({
      env: { ...issuer.env, LLM_API_KEYS: `bob:${sha256('key-of-bob')}` },
    });
    const token = await signer.token();
    if (door.name === 'websocket') {
      using socket = await openSocket(service.url, '?connectionParams=1');
      socket.send({ method: 'connectionParams', data: { token } });
      // "Try again later": clients connect again by themselves.
      expect(await socket.closed).toBe(1013);
    } else {
      const refused = await refusalOf(door.stream(service.url, ask('hi'), token));
      expect(refused).toMatchObject({ code: 'at_capacity', retryable: true });
      expect(refused.retryAfterMs).toBeGreaterThan(0);
      expect(refused.message).not.toContain('127.0.0.1');
    }
    expect(terminalOf(await readAll(door.stream(service.url, ask('hi'), 'key-of-bob'))).type).toBe('done');
    issuer.answer = undefined;
    expect(terminalOf(await readAll(door.stream(service.url, ask('hi'), token))).type).toBe('done');
  });

  it('a stream outlives its token and goes on to its end, and no new one starts with it', async () => {
    await using parts = await start();
    const { service, signer } = parts;
    // Good for two more seconds, by the skew that is allowed.
    const token = await signer.token({ exp: nowS() - 27 });
    service.upstream.enqueue({ kind: 'manual' });
    const view = door.stream(service.url, ask('hi'), token);
    const request = await service.upstream.nextRequest();
    await eventually(async () => expect(await verdictOn(service, token)).toBe('unauthorized'));
    await request.text('late');
    request.finish();
    expect(terminalOf(await readAll(view)).type).toBe('done');
    expect(await refusalOf(door.stream(service.url, ask('hi'), token))).toMatchObject({
      code: 'unauthorized',
      message: 'This token has expired',
    });
    expect(service.upstream.requestCount).toBe(1);
  });
});

describe('tokens', () => {
  it('may be up to thirty seconds out by the clock of either side', async () => {
    await using parts = await start();
    const { service, signer } = parts;
    expect(await verdictOn(service, await signer.token({ exp: nowS() - 15 }))).toBe('ok');
    expect(await verdictOn(service, await signer.token({ nbf: nowS() + 15 }))).toBe('ok');
    expect(await verdictOn(service, await signer.token({ exp: nowS() - 31 }))).toBe('unauthorized');
  });

  it('may name the caller in another claim', async () => {
    await using parts = await start({ LLM_JWT_CALLER_CLAIM: 'email' });
    const { service, signer } = parts;
    expect(await verdictOn(service, await signer.token())).toBe('unauthorized');
    expect(await verdictOn(service, await signer.token({ email: 'a@example.com' }))).toBe('ok');
  });

  it.each(['RS256', 'PS256', 'ES384', 'EdDSA'])('may be signed with %s', async (alg) => {
    await using parts = await start();
    const { service, issuer } = parts;
    const signer = await issuer.addSigner('other', alg);
    expect(await verdictOn(service, await signer.token())).toBe('ok');
  });

  it('that name no key are tried with those of the set that fit, and with no more than a few', async () => {
    await using parts = await start();
    const { service, signer, issuer } = parts;
    const second = await issuer.addSigner('two');
    // A token that names a key which the service doesn't have has it read the set again.
    expect(await verdictOn(service, await second.token())).toBe('ok');
    expect(await verdictOn(service, await signer.token({}, null))).toBe('ok');
    expect(await verdictOn(service, await second.token({}, null))).toBe('ok');
    expect(await verdictOn(service, await second.token({ aud: 'other' }, null))).toBe('unauthorized');
    expect(await verdictOn(service, await (await createSigner('one')).token({}, null))).toBe('unauthorized');
    for (let count = 3; count <= 9; count += 1) await issuer.addSigner(`number-${count}`);
    const last = await issuer.addSigner('last');
    // Named it is found, and has the set read again; unnamed it is the tenth to be tried.
    expect(await verdictOn(service, await last.token())).toBe('ok');
    expect(await verdictOn(service, await last.token({}, null))).toBe('unauthorized');
  });

  it('stand beside keys', async () => {
    await using parts = await start({ LLM_API_KEYS: `bob:${sha256('key-of-bob')}` });
    const { service, signer } = parts;
    expect(await verdictOn(service, await signer.token())).toBe('ok');
    expect(await verdictOn(service, 'key-of-bob')).toBe('ok');
    expect(await verdictOn(service, 'key-of-eve')).toBe('unauthorized');
  });

  it('in the head of a request for a WebSocket are judged before the handshake', async () => {
    await using parts = await start();
    const { service, signer } = parts;
    expect((await upgrade(`${service.url}/trpc`, bearer(await signer.token()))).status).toBe(101);
    expect((await upgrade(`${service.url}/trpc`, bearer(await signer.token({ aud: 'other' })))).status).toBe(401);
  });

  it('start nothing on an open socket after they have expired', async () => {
    await using parts = await start();
    const { service, signer } = parts;
    using socket = await openSocket(service.url, '?connectionParams=1');
    socket.send({ method: 'connectionParams', data: { token: await signer.token({ exp: nowS() - 27 }) } });
    let id = 0;
    const ask1 = async () => {
      socket.send(query((id += 1), 'llm.configs'));
      return (await socket.next()).error?.json.data.llm.code ?? 'ok';
    };
    expect(await ask1()).toBe('ok');
    await eventually(async () => expect(await ask1()).toBe('unauthorized'));
  });
});

describe('the keys of the issuer', () => {
  it('are read again for a new one, and one that is gone counts no more, on open sockets neither', async () => {
    await using parts = await start();
    const { service, signer, issuer } = parts;
    using socket = await openSocket(service.url, '?connectionParams=1');
    socket.send({ method: 'connectionParams', data: { token: await signer.token() } });
    socket.send(query(1, 'llm.configs'));
    expect((await socket.next()).result).toBeDefined();
    issuer.keys = [];
    const next = await issuer.addSigner('two');
    expect(await verdictOn(service, await next.token())).toBe('ok');
    expect(await verdictOn(service, await signer.token())).toBe('unauthorized');
    socket.send(query(2, 'llm.configs'));
    expect((await socket.next()).error?.json.data.llm.code).toBe('unauthorized');
  });

  it('that can’t be read make the service ask for patience, and are read as soon as they can be', async () => {
    const issuer = await startIssuer();
    await using _issuer = issuer;
    const signer = await issuer.addSigner('one');
    issuer.answer = (response) => void response.writeHead(503).end();
    await using service = await startTestService({ env: issuer.env });
    const { status, text, headers } = await send(`${service.url}/api/llm/configs`, {
      headers: bearer(await signer.token()),
    });
    expect(status).toBe(503);
    expect(headers['retry-after']).toBeDefined();
    expect(text).toContain('at_capacity');
    expect(text).not.toContain('127.0.0.1');
    issuer.answer = undefined;
    expect(await verdictOn(service, await signer.token())).toBe('ok');
    // From now on the service has them.
    issuer.answer = (response) => void response.destroy();
    expect(await verdictOn(service, await signer.token())).toBe('ok');
  });

  const endless = (response: ServerResponse) => {
    response.writeHead(200);
    const more = () => void (response.write(' '.repeat(65_536)) && setImmediate(more));
    response.on('drain', more);
    response.on('close', () => response.off('drain', more));
    more();
  };

  it.each([
    ['are endless', endless],
    ['are no set', (response) => void response.end('<html>')],
    ['lead elsewhere', (response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
    ['are too many', (response) => void response.end(JSON.stringify({ keys: Array(101).fill({ kty: 'RSA' }) }))],
    ['are private', (response) => void response.end('{"keys":[{"kty":"OKP","crv":"Ed25519","x":"a","d":"b"}]}')],
  ] satisfies [string, (response: ServerResponse) => void][])(
    'that %s are not taken, and the service answers others meanwhile',
    async (_what, answer) => {
      const issuer = await startIssuer();
      await using _issuer = issuer;
      const signer = await issuer.addSigner('one');
      issuer.answer = answer;
      await using service = await startTestService({
        env: { ...issuer.env, LLM_API_KEYS: `bob:${sha256('key-of-bob')}` },
      });
      const waits = verdictOn(service, await signer.token());
      expect(await verdictOn(service, 'key-of-bob')).toBe('ok');
      expect(await waits).toBe('at_capacity');
    },
  );

  it('that don’t arrive in time are waited for by nobody else', async () => {
    const issuer = await startIssuer();
    await using _issuer = issuer;
    const signer = await issuer.addSigner('one');
    issuer.answer = () => {};
    await using service = await startTestService({
      env: { ...issuer.env, LLM_API_KEYS: `bob:${sha256('key-of-bob')}` },
    });
    const waits = Promise.all([1, 2, 3].map(async () => verdictOn(service, await signer.token())));
    expect(await verdictOn(service, 'key-of-bob')).toBe('ok');
    expect(await waits).toEqual(['at_capacity', 'at_capacity', 'at_capacity']);
    // All of them have waited for one read.
    expect(issuer.reads).toBe(1);
  });

  it('are kept, read again in the background, dropped after an hour, and asked for six times a minute at most', async () => {
    const issuer = await startIssuer();
    await using _issuer = issuer;
    const signer = await issuer.addSigner('one');
    let now = 0;
    using keySet = new RemoteKeySet({ url: issuer.url, telemetry: { keySetUnread() {} }, now: () => now });
    const find = (kid: string) => keySet.find({ alg: 'ES256', kid }, { payload: '', signature: '' });
    await find('one');
    now += 9 * 60_000;
    await find('one');
    expect(issuer.reads).toBe(1);
    now += 2 * 60_000;
    issuer.answer = (response) => void response.writeHead(500).end();
    await find('one');
    // Shares the read in the background.
    await keySet.read();
    expect(issuer.reads).toBe(2);
    now += 10 * 60_000;
    for (let tries = 0; tries < 20; tries += 1) {
      await expect(find('unknown')).rejects.toThrow('no applicable key found');
    }
    expect(issuer.reads).toBe(2 + 6);
    await find('one');
    now += 60 * 60_000;
    await expect(find('one')).rejects.toMatchObject({ code: 'at_capacity' });
    issuer.answer = undefined;
    issuer.keys = [signer.jwk];
    await find('one');
  });
});

describe('a file of the issuer’s keys', () => {
  const file = keyFileForEachTest('jwks.json');

  it('is read again when it changes', async () => {
    const [one, two] = [await createSigner('one'), await createSigner('two')];
    await file.write({ keys: [one.jwk] });
    const env = { LLM_JWKS_FILE: file.path, LLM_JWT_ISSUER: issuerName, LLM_JWT_AUDIENCE: audience };
    await using service = await startTestService({ env });
    expect(await verdictOn(service, await one.token())).toBe('ok');
    expect(await verdictOn(service, await two.token())).toBe('unauthorized');
    await file.write({ keys: [two.jwk] });
    await eventually(async () => expect(await verdictOn(service, await two.token())).toBe('ok'));
    expect(await verdictOn(service, await one.token())).toBe('unauthorized');
  });

  it('that is no set stops the start', async () => {
    await file.write({ keys: 'none' });
    const env = { LLM_JWKS_FILE: file.path, LLM_JWT_ISSUER: issuerName, LLM_JWT_AUDIENCE: audience };
    await expect(startTestService({ env })).rejects.toThrow(SettingsError);
    await expect(startTestService({ env })).rejects.toThrow(/LLM_JWKS_FILE: .*expected a JSON Web Key Set/s);
  });
});

it('keys of an issuer that come over http from another machine are a doubt that is logged', () => {
  const env = { LLM_JWT_ISSUER: 'i', LLM_JWT_AUDIENCE: 'a' };
  const doubts = (url: string) =>
    doubtsOf(readSettings({ ...env, LLM_JWKS_URL: url }), Infinity).map(({ path }) => path);
  expect(doubts('http://issuer.internal/jwks')).toEqual(['LLM_JWKS_URL']);
  expect(doubts('http://localhost:8080/jwks')).toEqual([]);
  expect(doubts('https://issuer.internal/jwks')).toEqual([]);
});

it.each([
  [{ LLM_JWKS_URL: 'https://i/jwks' }, 'LLM_JWT_ISSUER: expected the "iss" of the tokens, since LLM_JWKS_URL is set'],
  [{ LLM_JWKS_FILE: 'jwks.json' }, 'LLM_JWT_AUDIENCE: expected the "aud" of the tokens, since LLM_JWKS_FILE is set'],
  [{ LLM_JWT_ISSUER: 'https://i' }, 'LLM_JWT_ISSUER: expected LLM_JWKS_URL or LLM_JWKS_FILE beside it'],
  [
    { LLM_JWKS_URL: 'https://i/jwks', LLM_JWKS_FILE: 'jwks.json', LLM_JWT_ISSUER: 'i', LLM_JWT_AUDIENCE: 'a' },
    'LLM_JWKS_FILE: expected nothing, since LLM_JWKS_URL is set',
  ],
  [
    { LLM_JWKS_URL: 'https://i/jwks', LLM_JWT_ISSUER: 'i', LLM_JWT_AUDIENCE: 'a', LLM_AUTH: 'none' },
    'LLM_AUTH: expected nothing, since LLM_JWKS_URL is set',
  ],
  [{ LLM_JWKS_URL: 'ftp://i/jwks' }, 'LLM_JWKS_URL: expected an https or http URL without a user name and password'],
  [{ LLM_JWKS_URL: 'https://a:secret@i/jwks' }, 'found text, not shown here'],
])('settings that contradict each other are refused: %j', (env, problem) => {
  expect(() => readSettings(env)).toThrow(problem);
});
