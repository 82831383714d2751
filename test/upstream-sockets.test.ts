/**
 * Many answers at once on kept sockets, plain and encrypted. Their takers are fast, slow, or leave in the middle and
 * ask for more. Each gets the bytes that were sent to it. The bytes look like chunks wherever possible.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import tls from 'node:tls';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { prepareRequest, UpstreamSockets } from '../src/upstream/http/sockets.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { selfSigned } from './support/self-signed.ts';
import { trustSelfSigned } from './support/tls.ts';

finishesCleanly();
trustSelfSigned();

const turn = () => new Promise(setImmediate);
const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
const decoys = ['\r\n', '\n', '0\r\n\r\n', '5\r\n', 'a;b=c\r\n'];

/** One answer: how it is sent, and what its taker does. */
const exchange = fc.record({
  chunks: fc.array(
    fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.constantFrom(...decoys).map((text) => Buffer.from(text)),
      fc.integer({ min: 20_000, max: 90_000 }).map((bytes) => Buffer.alloc(bytes, '3\r\nabc\r\n')),
    ),
    { minLength: 1, maxLength: 40 },
  ),
  /** Bytes of each write; 0: one write per chunk. */
  writeBytes: fc.constantFrom(0, 0, 7, 100, 5_000, 70_000),
  /** After how many batches its taker leaves. */
  leavesAfter: fc.option(fc.nat(5), { freq: 5, nil: Infinity }),
  /** For how many turns it is busy with each batch. */
  busyTurns: fc.constantFrom(0, 0, 1, 8),
});
type Exchange = typeof exchange extends fc.Arbitrary<infer T> ? T : never;

function writesOf({ chunks, writeBytes }: Exchange): Buffer[] {
  const frames = chunks.map((data) =>
    Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]),
  );
  const parts = [Buffer.from(head), ...frames, Buffer.from('0\r\n\r\n')];
  if (writeBytes === 0) return parts;
  const all = Buffer.concat(parts);
  // Each takes one turn, so no more than some hundreds.
  const bytes = Math.max(writeBytes, Math.ceil(all.length / 400));
  const count = Math.ceil(all.length / bytes);
  return Array.from({ length: count }, (_, at) => all.subarray(at * bytes, (at + 1) * bytes));
}

const digest = (parts: Iterable<Uint8Array>) => {
  const hash = createHash('sha1');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

async function send(socket: Socket, writes: readonly Buffer[]): Promise<void> {
  for (const write of writes) {
    if (socket.destroyed) return;
    socket.write(write);
    await turn();
  }
}

/** Runs them all at once, and answers each request with the exchange whose number it names. */
async function run(exchanges: readonly Exchange[], secure: boolean): Promise<void> {
  const open = new Set<Socket>();
  const serve = (socket: Socket) => {
    open.add(socket.on('error', () => {}).on('close', () => open.delete(socket)));
    socket.on('data', (bytes) => {
      const [, number] = /exchange (\d+)\./.exec(bytes.toString('latin1')) ?? [];
      if (number !== undefined) void send(socket, writesOf(exchanges[Number(number)]!));
    });
  };
  const server = secure ? tls.createServer(selfSigned, serve) : createServer({ noDelay: true }, serve);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  using sockets = new UpstreamSockets();
  const { port } = server.address() as AddressInfo;
  const request = prepareRequest(`${secure ? 'https' : 'http'}://127.0.0.1:${port}/`, {});

  async function take(number: number): Promise<void> {
    const { chunks, leavesAfter, busyTurns } = exchanges[number]!;
    const { body } = await sockets.send(request, `exchange ${number}.`, new AbortController().signal);
    const taken: Buffer[] = [];
    let batches = 0;
    let next: Promise<void> | undefined;
    await body.pipe((batch) => {
      for (const chunk of batch) taken.push(Buffer.from(chunk));
      if ((batches += 1) > leavesAfter) {
        body.destroy();
        // Within the call that read the batch.
        next = take((number + 1) % exchanges.length);
        return undefined;
      }
      return busyTurns === 0 ? undefined : wait(busyTurns);
    });
    if (next) await Promise.all([next, body.close()]);
    else expect([body.finished, digest(taken)]).toEqual([true, digest(chunks)]);
    await body.drain();
  }
  // Takers that leave start others. At least one must stay, or this would go on for ever.
  const all = exchanges.some(({ leavesAfter }) => leavesAfter === Infinity)
    ? [...exchanges.keys(), ...exchanges.keys()]
    : [];
  try {
    await Promise.all(all.map(take));
  } finally {
    for (const socket of open) socket.destroy();
    server.close();
    await once(server, 'close');
  }
}

async function wait(turns: number): Promise<void> {
  for (let left = turns; left > 0; left -= 1) await turn();
}

it.each([
  ['plain', false],
  ['encrypted', true],
])('%s', async (_name, secure) => {
  const exchanges = fc.array(exchange, { minLength: 2, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(exchanges, (list) => run(list, secure)),
    { numRuns: 15 },
  );
});
