/** Tokens, the keys of their issuer and the file of keys under attack: nobody gets in by them, and nobody else is kept out. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { exportJWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../../src/simulator.ts';
import { bearer, bodyOf, keyOf } from '../support/attack-callers.ts';
import { strangersBytesMax, targetForTests, turnMsMax } from '../support/attack-target.ts';
import {
  frame,
  headOf,
  openWebSocketWire,
  openWire,
  posted,
  socketVerdictOf,
  verdictOf,
} from '../support/attack-wire.ts';
import { createSigner, signed, startIssuer, type Issuer, type Signer } from '../support/issuer.ts';

const path = '/api/llm/process_stream/default';
const entries = [{ name: 'ada', sha256: createHash('sha256').update(keyOf('ada')).digest('hex') }];

let upstream: Simulator;
let issuer: Issuer;
let signer: Signer;
let folder: string;
beforeAll(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  issuer = await startIssuer();
  signer = await issuer.addSigner('one');
  folder = await mkdtemp(join(tmpdir(), 'credentials-'));
  await writeKeys();
});
afterAll(async () => {
  await issuer[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
const keyFile = () => join(folder, 'keys.json');
async function writeKeys(): Promise<void> {
  await writeFile(join(folder, 'new'), JSON.stringify(entries));
  await rename(join(folder, 'new'), keyFile());
}
const target = targetForTests(() => ({
  upstreamUrl: upstream.url,
  env: { ...issuer.env, LLM_API_KEYS_FILE: keyFile() },
}));

/** Verdicts on one request with this token over each door. */
async function verdictsOn(token: string, signal: AbortSignal): Promise<Record<string, string>> {
  const { url } = target.current;
  const authorization = `Bearer ${token}`;
  const http = async (bytes: Buffer) => {
    const wire = await openWire(url, signal);
    wire.write(bytes);
    return verdictOf(wire, 10_000);
  };
  const inParams = async () => {
    const wire = await openWebSocketWire(url, signal, { search: '?connectionParams=1' });
    wire?.write(frame(JSON.stringify({ method: 'connectionParams', data: { token } })));
    wire?.write(frame('{"id":1,"method":"query","params":{"path":"llm.configs"}}'));
    return socketVerdictOf(wire, 10_000);
  };
  const input = JSON.stringify({ json: { config: 'default', messages: [{ role: 'user', content: 'hi' }] } });
  const [rest, sse, websocket] = await Promise.all([
    http(posted(path, bodyOf('hi'), { authorization })),
    http(posted('/trpc/llm.stream', input, { authorization, accept: 'text/event-stream' })),
    inParams(),
  ]);
  return { rest, sse, websocket };
}

const part = (json: string) => Buffer.from(json).toString('base64url');
const unauthorized = { rest: '401 unauthorized', sse: '200 unauthorized', websocket: 'unauthorized' };

describe('tokens', () => {
  it('that bring their own key, name a place to fetch one, or confuse algorithms are refused, and nothing is fetched', async () => {
    let fetched = 0;
    const lure = createServer((_request, response) => void ((fetched += 1), response.end('{"keys":[]}')));
    lure.listen(0, '127.0.0.1');
    await once(lure, 'listening');
    const elsewhere = `http://127.0.0.1:${(lure.address() as AddressInfo).port}/`;
    const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = await exportJWK(own.publicKey);
    const forged = (header: object) =>
      signed({}, (jwt) => jwt.setProtectedHeader({ alg: 'ES256', kid: 'one', ...header }).sign(own.privateKey));
    const publicKey = new TextEncoder().encode(signer.spki);
    const [head = '', body = '', signature = ''] = (await signer.token()).split('.');
    const tokens: Readonly<Record<string, string>> = {
      'a key in the head': await forged({ jwk }),
      'the address of a set': await forged({ jku: elsewhere }),
      'the address of a certificate': await forged({ x5u: elsewhere }),
      'a certificate': await forged({ x5c: ['MII='] }),
      'a path for a key': await forged({ kid: '../../../../dev/null' }),
      'the public key as a secret': await signed({}, (jwt) =>
        jwt.setProtectedHeader({ alg: 'HS256', kid: 'one' }).sign(publicKey),
      ),
      none: `${part('{"alg":"none"}')}.${body}.`,
      None: `${part('{"alg":"None","kid":"one"}')}.${body}.`,
      'no algorithm': `${part('{}')}.${body}.${signature}`,
      'an algorithm of encryption': `${part('{"alg":"RSA-OAEP","enc":"A256GCM","kid":"one"}')}.${body}.${signature}`,
      'an extension that must be understood': `${part('{"alg":"ES256","kid":"one","crit":["exp"],"exp":1}')}.${body}.${signature}`,
      'a signature of zeros': `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`,
      'a signature of another length': `${head}.${body}.${'A'.repeat(4_000)}`,
    };
    const { result } = await target.current.withstands('API2 forged tokens', async (signal) => {
      const verdicts: Record<string, unknown> = {};
      for (const [what, token] of Object.entries(tokens)) verdicts[what] = await verdictsOn(token, signal);
      return verdicts;
    });
    for (const [what, verdicts] of Object.entries(result)) expect(verdicts, what).toEqual(unauthorized);
    expect(fetched).toBe(0);
    lure.closeAllConnections();
    lure.close();
  });

  it('that are large, deep or odd cost little', async () => {
    const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
    const ofPayload = (json: string) => `${part('{"alg":"ES256","kid":"one"}')}.${part(json)}.${'A'.repeat(86)}`;
    const tokens: readonly string[] = [
      ofPayload(deep(1_000)),
      ofPayload(`[${'[],'.repeat(3_000)}1]`),
      `${part(deep(1_000))}.e30.AAAA`,
      `${part(`{"alg":"ES256","kid":"${'k'.repeat(7_000)}"}`)}.e30.AAAA`,
      `${part(`{"alg":"ES256","kid":${JSON.stringify(Array(2_000).fill('k'))}}`)}.e30.AAAA`,
      `${'e30.'.repeat(2_500)}e30`,
      `${'A'.repeat(9_000)}.${'A'.repeat(100)}.`,
    ];
    const toll = await target.current.withstands('API4 odd tokens', async (signal) => {
      const verdicts = [];
      for (let round = 0; round < 5; round += 1) {
        verdicts.push(...(await Promise.all(tokens.map((token) => verdictsOn(token, signal)))));
      }
      return verdicts;
    });
    for (const verdicts of toll.result) {
      for (const verdict of Object.values(verdicts))
        expect(verdict).toMatch(/^(?:\d{3} )?unauthorized$|^431$|^closed$/);
    }
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
    expect(toll.heldBytes).toBeLessThan(strangersBytesMax);
  });

  it('of many megabytes in a socket’s params are refused without being looked at', async () => {
    const toll = await target.current.withstands('API4 huge tokens in params', async (signal) => {
      const huge = JSON.stringify({ method: 'connectionParams', data: { token: `${'e'.repeat(4 << 20)}.e30.AAAA` } });
      const verdicts = Array.from({ length: 8 }, async () => {
        const wire = await openWebSocketWire(target.current.url, signal, { search: '?connectionParams=1' });
        await wire?.flood([frame(huge)]);
        return socketVerdictOf(wire, 5_000);
      });
      return Promise.all(verdicts);
    });
    for (const verdict of toll.result) expect(verdict).toMatch(/^(?:closed|unauthorized|too_large|invalid_input)$/);
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
    expect(toll.heldBytes).toBeLessThan(strangersBytesMax);
  });
});

describe('the keys of the issuer', () => {
  const bombs: Readonly<Record<string, (response: ServerResponse) => void>> = {
    nested: (response) => void response.end('{"keys":'.repeat(25_000)),
    'nested lists': (response) => void response.end(`{"keys":${'['.repeat(200_000)}`),
    'a hundred large keys': (response) => {
      const keys = Array.from({ length: 100 }, (_, kid) => ({
        kty: 'RSA',
        alg: 'RS256',
        kid: `${kid}`,
        e: 'AQAB',
        n: 'A'.repeat(2_000),
      }));
      response.end(JSON.stringify({ keys }));
    },
    endless: (response) => {
      response.writeHead(200);
      const more = () => void (!response.destroyed && response.write(' '.repeat(65_536)) && setImmediate(more));
      response.on('drain', more);
      more();
    },
    'one byte at a time': (response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write(' '), 100);
      response.on('close', () => clearInterval(timer));
    },
    'leading elsewhere': (response) => void response.writeHead(307, { location: upstream.url }).end(),
  };

  it.each(Object.keys(bombs))('that are %s let nobody in, and keep nobody with a key out', async (what) => {
    issuer.answer = bombs[what];
    const stranger = await createSigner('unknown');
    const toll = await target.current.withstands(`API10 a set that is ${what}`, async (signal) => {
      const tokens = Promise.all(Array.from({ length: 20 }, async () => verdictsOn(await stranger.token(), signal)));
      const wire = await openWire(target.current.url, signal);
      wire.write(headOf('GET', '/api/llm/configs', bearer('ada')));
      return { withKey: await verdictOf(wire, 5_000), tokens: await tokens };
    });
    issuer.answer = undefined;
    expect(toll.result.withKey).toBe('200');
    for (const verdicts of toll.result.tokens) expect(verdicts).toEqual(unauthorized);
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
    expect(toll.heldBytes).toBeLessThan(strangersBytesMax);
  });
});

describe('the file of keys', () => {
  it('that becomes a folder, a device, a pipe’s end, nonsense or nothing leaves the old keys in force', async () => {
    const tricks: Readonly<Record<string, () => Promise<unknown>>> = {
      'a folder': () => mkdir(join(folder, 'new')),
      'an endless device': () => symlink('/dev/zero', join(folder, 'new')),
      'a link to itself': () => symlink(keyFile(), join(folder, 'new')),
      'two mebibytes': () => writeFile(join(folder, 'new'), Buffer.alloc(2 << 20, '[')),
      nested: () => writeFile(join(folder, 'new'), '['.repeat(1_000_000)),
      bytes: () => writeFile(join(folder, 'new'), Buffer.from([0xff, 0xfe, 0, 1, 2])),
    };
    const toll = await target.current.withstands(
      'API8 the file of keys',
      async (signal) => {
        const verdicts: Record<string, string> = {};
        for (const [what, make] of Object.entries(tricks)) {
          await rm(keyFile(), { recursive: true, force: true });
          await make();
          await rename(join(folder, 'new'), keyFile());
          await delay(800, undefined, { signal });
          const wire = await openWire(target.current.url, signal);
          wire.write(headOf('GET', '/api/llm/configs', bearer('ada')));
          verdicts[what] = await verdictOf(wire, 5_000);
        }
        return verdicts;
      },
      60_000,
    );
    await rm(keyFile(), { recursive: true, force: true });
    await writeKeys();
    expect(new Set(Object.values(toll.result)), JSON.stringify(toll.result)).toEqual(new Set(['200']));
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
  });
});
