/**
 * The service checks who asks before it looks at what is asked. Without a key, nobody has a body read, a message parsed
 * or a caller's place taken.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { UnsecuredJWT } from 'jose';
import { startSimulator, type Simulator } from '../../src/simulator.ts';
import { bearer, keyOf, unknownId as id } from '../support/attack-callers.ts';
import { startHonestCallers } from '../support/attack-honest.ts';
import { audience, createSigner, issuerName, startIssuer, type Issuer, type Signer } from '../support/issuer.ts';
import { strangersBytesMax, targetForTests, turnMsMax } from '../support/attack-target.ts';
import {
  frame,
  framesIn,
  headOf,
  inOneByteChunks,
  jsonChunked,
  openWebSocketWire,
  openWire,
  posted,
  repeat,
  socketVerdictOf,
  verdictOf,
  type Wire,
} from '../support/attack-wire.ts';

const socketsMax = 40;
let upstream: Simulator;
let issuer: Issuer;
let signer: Signer;
beforeAll(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  issuer = await startIssuer();
  signer = await issuer.addSigner('one');
});
afterAll(async () => {
  await issuer[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});
const target = targetForTests(() => ({
  upstreamUrl: upstream.url,
  callers: ['ada'],
  env: { ...issuer.env, LLM_SOCKETS_MAX: `${socketsMax}`, LLM_CONNECTION_PARAMS_MS: '1000' },
}));

/** In a service that needs a key. */
const doors = [
  'POST /api/llm/process_stream/default',
  'POST /%61pi/llm/process_stream/default',
  'POST /trpc/llm.stream',
  'POST /trpc/llm.follow',
  'POST /trpc/llm.cancel',
  'POST /trpc/llm.cancel,llm.cancel?batch=1',
  `DELETE /api/llm/generations/${id}`,
];
const others = [
  'POST /nowhere',
  'POST /trpc/nowhere',
  'POST /trpc/llm.nothing',
  'POST /trpc',
  'POST /api/llm/nowhere',
  'PUT /api/llm/process_stream/default',
  'PATCH /',
  'POST /healthz',
  'POST /openapi.json',
  'DELETE /assets/nothing.js',
  'OPTIONS /trpc/llm.stream',
];
const split = (route: string) => route.split(' ') as [string, string];
const accepts = { accept: 'text/event-stream', 'content-type': 'application/json' };

/**
 * The status of a refusal. A subscription's is 200, with the code in an event: the stock link of tRPC reads a subscription by an
 * EventSource, which shows its page neither body nor code of a response with another status.
 */
const statusAt = (route: string) => (/\/trpc\/llm\.(?:stream|follow)/.test(route) ? 200 : 401);
const allUnauthorized = Object.fromEntries(doors.map((route) => [route, `${statusAt(route)} unauthorized`]));

/** Verdicts on heads whose bodies are announced but not sent. */
/** The verdicts on requests whose heads announce a body that is never sent. */
async function headsAlone(routes: readonly string[], headers: Readonly<Record<string, string>>, signal: AbortSignal) {
  const verdicts = routes.map(async (route) => {
    const wire = await openWire(target.current.url, signal);
    wire.write(headOf(...split(route), { ...accepts, 'content-length': 10_000_000, ...headers }));
    return [route, await verdictOf(wire, 3_000)] as const;
  });
  return Object.fromEntries(await Promise.all(verdicts));
}

it('refuses whoever has no key from the head alone, at every door', async () => {
  const { result } = await target.current.withstands('A1 heads without a key', (signal) =>
    headsAlone(doors, {}, signal),
  );
  expect(result).toEqual(allUnauthorized);
});

it('refuses bad keys from the head alone, at every door', async () => {
  const keys: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    'an unknown key': { authorization: 'Bearer unknown' },
    'another scheme': { authorization: `Basic ${keyOf('ada')}` },
    'an empty key': { authorization: 'Bearer ' },
    'a long key': { authorization: `Bearer ${'x'.repeat(8_000)}` },
    'a key of another header': { 'x-api-key': keyOf('ada') },
  };
  const { result } = await target.current.withstands('A1 heads with bad keys', async (signal) => {
    const verdicts = Object.values(keys).map((headers) => headsAlone(doors, headers, signal));
    return Promise.all(verdicts);
  });
  for (const each of result) expect(each).toEqual(allUnauthorized);
});

it('refuses bad tokens from the head alone, at every door', async () => {
  const stranger = await createSigner('one');
  const claims = { iss: issuerName, aud: audience, sub: 'ada', exp: 4_000_000_000 };
  const tokens: Readonly<Record<string, string>> = {
    'that nobody signed': new UnsecuredJWT(claims).encode(),
    'that a stranger signed': await stranger.token(),
    'for another audience': await signer.token({ aud: 'other' }),
    'that has expired': await signer.token({ exp: 1_000_000_000 }),
    'that is long': `${'e'.repeat(4_000)}.${'e'.repeat(4_000)}.`,
  };
  const { result } = await target.current.withstands('A1 heads with bad tokens', async (signal) => {
    const verdicts = Object.values(tokens).map((token) =>
      headsAlone(doors, { authorization: `Bearer ${token}` }, signal),
    );
    return Promise.all(verdicts);
  });
  for (const each of result) expect(each).toEqual(allUnauthorized);
});

it('asks the issuer a few times a minute, however many tokens name keys that it doesn’t have', async () => {
  const strangers = await Promise.all(Array.from({ length: 50 }, (_, index) => createSigner(`unknown-${index}`)));
  const toll = await target.current.withstands('A2 tokens of unknown keys', async (signal) => {
    const verdicts = strangers.map(async (stranger) =>
      headsAlone(doors, { authorization: `Bearer ${await stranger.token()}` }, signal),
    );
    return Promise.all(verdicts);
  });
  for (const each of toll.result) expect(each).toEqual(allUnauthorized);
  // A minute may end meanwhile.
  expect(issuer.reads).toBeLessThanOrEqual(2 * 6);
  expect(toll.heldBytes).toBeLessThan(strangersBytesMax);
  expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
});

it('refuses a chunked request from the head alone', async () => {
  const { result } = await target.current.withstands('A1 heads of chunks', async (signal) => {
    const verdicts = doors.map(async (route) => {
      const wire = await openWire(target.current.url, signal);
      wire.write(headOf(...split(route), { accept: accepts.accept, ...jsonChunked }));
      return [route, await verdictOf(wire, 3_000)] as const;
    });
    return Object.fromEntries(await Promise.all(verdicts));
  });
  expect(result).toEqual(allUnauthorized);
});

it('answers a path without a door from the head alone, too', async () => {
  const { result } = await target.current.withstands('A1 heads for no door', (signal) =>
    headsAlone(others, {}, signal),
  );
  for (const [route, verdict] of Object.entries(result)) {
    // Whoever asks tRPC for an event stream is answered with one.
    expect(verdict, route).toMatch(/^(?:closed|200|204|200 unauthorized|40[1345]\b.*|413\b.*)$/);
  }
});

it('keeps nothing of bodies in one-byte chunks from clients without a key', async () => {
  const toll = await target.current.withstands('A1 chunks without a key', async (signal) => {
    const body = `{"json":{"generationId":"${'x'.repeat(150_000)}"}}`;
    const ends = [...doors, ...others, 'GET /healthz', 'GET /nowhere', 'HEAD /'].map(async (route) => {
      const wire = await openWire(target.current.url, signal);
      wire.write(headOf(...split(route), { accept: accepts.accept, ...jsonChunked }));
      return wire.flood(inOneByteChunks(body));
    });
    return (await Promise.all(ends)).join(' ');
  });
  expect(toll.heldBytes).toBeLessThan(strangersBytesMax);
  expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
});

it('keeps nothing of large bodies from clients without a key, however slowly they end', async () => {
  const toll = await target.current.withstands('A9 large bodies without a key', async (signal) => {
    const part = Buffer.alloc(5 << 20, '[');
    const ends = Array.from({ length: 24 }, async (_, index) => {
      const wire = await openWire(target.current.url, signal);
      const route = [...doors, ...others][index % (doors.length + others.length)]!;
      wire.write(headOf(...split(route), { ...accepts, 'content-length': 10_400_000 }));
      return wire.flood([part]);
    });
    return (await Promise.all(ends)).join(' ');
  });
  expect(toll.heldBytes).toBeLessThan(strangersBytesMax);
  expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
});

it('lets a caller with a key in while strangers hold all the sockets that they can, and closes a stranger’s', async () => {
  const { result } = await target.current.withstands(
    'A10 sockets that only answer pings',
    async (signal) => {
      const token = { method: 'connectionParams', data: { token: 'unknown' } };
      const kinds = [
        { search: '', first: undefined },
        { search: '?connectionParams=1', first: undefined },
        { search: '?connectionParams=1', first: JSON.stringify(token) },
        { search: '?connectionParams=1', first: JSON.stringify({ ...token, data: null }) },
      ];
      const strangers: Wire[] = [];
      for (let index = 0; index < 2 * socketsMax; index += 1) {
        const { search, first } = kinds[index % kinds.length]!;
        const wire = await openWebSocketWire(target.current.url, signal, { search });
        if (!wire) continue;
        strangers.push(wire);
        const answerPings = setInterval(() => wire.write(frame('PONG')), 100);
        void wire.closed.then(() => clearInterval(answerPings));
        if (first) wire.write(frame(first));
      }
      const inTheHead = await openWebSocketWire(target.current.url, signal, { headers: bearer('ada') });
      const inTheParams = await openWebSocketWire(target.current.url, signal, { search: '?connectionParams=1' });
      inTheParams?.write(frame(JSON.stringify({ ...token, data: { token: keyOf('ada') } })));
      const question = JSON.stringify({ id: 1, method: 'query', params: { path: 'llm.configs' } });
      for (const wire of [inTheHead, inTheParams]) wire?.write(frame(question));
      await Promise.all(strangers.map(({ until }) => until(() => false, 8_000)));
      return {
        inTheHead: await socketVerdictOf(inTheHead, 3_000),
        left: strangers.filter(({ isClosed }) => !isClosed).length,
      };
    },
    30_000,
  );
  expect(result).toEqual({ inTheHead: 'answered', left: 0 });
});

it('keeps little of the bytes that arrive on sockets before their connection params', async () => {
  const toll = await target.current.withstands('A10 large messages before the params', async (signal) => {
    const large = frame(`{"method":"connectionParams","data":{"token":"${'x'.repeat(5 << 20)}"}}`);
    const entries = Array.from({ length: 200_000 }, (_, index) => `"k${index}":"x"`).join();
    const wide = frame(`{"method":"connectionParams","data":{${entries}}}`);
    const deep = frame(`{"method":"connectionParams","data":${'['.repeat(2_000_000)}`);
    const messages = [large, large.subarray(0, -1), wide, deep];
    const verdicts = Array.from({ length: 20 }, async (_, index) => {
      const wire = await openWebSocketWire(target.current.url, signal, { search: '?connectionParams=1' });
      await wire?.flood([messages[index % messages.length]!]);
      wire?.write(frame('{"id":1,"method":"query","params":{"path":"llm.configs"}}'));
      return socketVerdictOf(wire, 5_000);
    });
    return Promise.all(verdicts);
  });
  for (const verdict of toll.result) expect(verdict).toMatch(/^(?:closed|unauthorized|too_large|invalid_input|error)$/);
  expect(toll.heldBytes).toBeLessThan(strangersBytesMax);
  expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
});

it('withstands pipelined requests without a key, and a sender that leaves', async () => {
  const toll = await target.current.withstands('A6 pipelined without a key', async (signal) => {
    const wires = await Promise.all(
      ['GET /api/llm/configs', 'POST /nowhere', 'POST /trpc/llm.cancel'].map(async (route) => {
        const wire = await openWire(target.current.url, signal);
        await wire.flood(repeat(headOf(...split(route), { 'content-length': 0 }), 20_000));
        return wire;
      }),
    );
    for (const wire of wires) wire.socket.destroy();
    await Promise.all(wires.map(({ closed }) => closed));
    // Its answer arrives after everything that the service does because of them.
    const after = await openWire(target.current.url, signal);
    after.write(headOf('GET', '/healthz'));
    return verdictOf(after);
  });
  expect(toll.result).toBe('200');
  expect(toll.heldBytes).toBeLessThan(strangersBytesMax);
  expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
});

it('serves callers with a key beside strangers that send all they can', async () => {
  const { result } = await target.current.withstands(
    'A1, A9, A10 beside honest callers',
    async (signal) => {
      const { url } = target.current;
      const honest = await startHonestCallers({ url, upstream, number: 6, token: keyOf('ada'), signal });
      await Promise.all(
        Array.from({ length: 12 }, async (_, index) => {
          const wire = await openWire(url, signal);
          const route = [...doors, ...others][index]!;
          wire.write(headOf(...split(route), { accept: accepts.accept, ...jsonChunked }));
          await wire.flood(inOneByteChunks(`["${'x'.repeat(50_000)}"]`));
        }),
      );
      return honest.finish();
    },
    30_000,
  );
  expect(result).toEqual({ whole: 6, failures: [] });
});

it('reads the body of a caller with a key', async () => {
  const { result } = await target.current.withstands('a body with a key', async (signal) => {
    const wire = await openWire(target.current.url, signal);
    wire.write(posted('/trpc/llm.cancel', JSON.stringify({ json: { generationId: id } }), bearer('ada')));
    const socket = await openWebSocketWire(target.current.url, signal, { headers: bearer('ada') });
    socket?.write(frame('{"id":1,"method":"query","params":{"path":"llm.configs"}}'));
    await socket?.until((each) => framesIn(each).length > 0);
    return [await verdictOf(wire), await socketVerdictOf(socket)];
  });
  expect(result).toEqual(['404 generation_not_found', 'answered']);
});
