/**
 * Attacks that can be run over and over, beside each other, at the default limits. Each returns the service's answer.
 */
import {
  blockDelta,
  blockStart,
  messageDelta,
  messageStart,
  textStart,
  type Exchange,
  type UpstreamEvent,
} from '../support/attack-upstream.ts';
import { manyNodes, manyPieces } from '../support/attack-inputs.ts';
import { bearer, bodyOf } from '../support/attack-callers.ts';
import {
  frame,
  headOf,
  inOneByteChunks,
  jsonChunked,
  openWebSocketWire,
  openWire,
  posted,
  repeat,
  socketVerdictOf,
  verdictOf,
} from '../support/attack-wire.ts';

export type AttackKind = (url: string, signal: AbortSignal) => Promise<string>;

/** The callers that attack with a key. */
export const attacker = 'eve';
const key = bearer(attacker);
const rest = '/api/llm/process_stream/hostile';
const page = JSON.stringify({ config: 'hostile', messages: [{ role: 'user', content: 'x' }] });
const pick = <T>(values: readonly T[]): T => values[Math.floor(Math.random() * values.length)]!;

async function chunks(url: string, signal: AbortSignal, headers: Readonly<Record<string, string>>): Promise<string> {
  const wire = await openWire(url, signal);
  const path = pick([rest, '/trpc/llm.cancel', '/trpc/llm.stream', '/nowhere']);
  wire.write(headOf('POST', path, { ...jsonChunked, ...headers }));
  const end = await wire.flood(inOneByteChunks(bodyOf('x'.repeat(400_000))));
  return `${end} ${await verdictOf(wire, 1_000)}`;
}

async function unread(url: string, signal: AbortSignal, piece: Buffer, bytes: number): Promise<string> {
  const wire = await openWebSocketWire(url, signal, { headers: key });
  if (!wire) return 'closed';
  wire.socket.pause();
  return wire.flood(repeat(piece, Math.ceil(bytes / piece.length)));
}

export const attackKinds: Readonly<Record<string, AttackKind>> = {
  'A1 chunks, no key': (url, signal) => chunks(url, signal, {}),
  'A1 chunks, a key': (url, signal) => chunks(url, signal, key),
  async 'A2 a frame of numbers'(url, signal) {
    const wire = await openWebSocketWire(url, signal, { headers: key });
    await wire?.flood([frame(pick([`[${'1,'.repeat(4_000_000)}1]`, `[${'{},'.repeat(3_000_000)}{}]`]))]);
    return socketVerdictOf(wire, 2_000);
  },
  'A3 PING, not read': (url, signal) => unread(url, signal, frame('PING'), 8 << 20),
  'A3 malformed, not read': (url, signal) => unread(url, signal, frame('{'), 8 << 20),
  'A3 queries, not read': (url, signal) =>
    unread(url, signal, frame('{"id":1,"method":"query","params":{"path":"llm.generations"}}'), 1 << 20),
  async 'A4 faults without number'(url, signal) {
    const wire = await openWire(url, signal);
    const json = pick(Object.values(manyPieces))();
    await wire.flood([posted(rest, json, key)], { untilAnswered: true });
    return verdictOf(wire, 5_000);
  },
  async 'A5 a long id'(url, signal) {
    const wire = await openWebSocketWire(url, signal, { headers: key });
    const params = `{"path":"llm.stream","input":{"json":${page}}}`;
    await wire?.flood([frame(`{"id":"${'x'.repeat(9_000_000)}","method":"subscription","params":${params}}`)]);
    return socketVerdictOf(wire, 3_000);
  },
  async 'A6 pipelined behind a stream'(url, signal) {
    const wire = await openWire(url, signal);
    wire.write(posted(rest, bodyOf('silent'), key));
    await wire.until(({ bytesReceived }) => bytesReceived > 0, 3_000);
    const end = await wire.flood(repeat(headOf('GET', '/api/llm/configs', key), 50_000));
    wire.socket.destroy();
    return end;
  },
  async 'A7 lists, not read'(url, signal) {
    const wire = await openWire(url, signal);
    wire.socket.pause();
    const calls = Array.from({ length: 100 }, () => 'llm.generations').join();
    return wire.flood(repeat(headOf('GET', `/trpc/${calls}?batch=1`, key), 20));
  },
  async 'A8 large prompts, upstream silent'(url, signal) {
    const wire = await openWire(url, signal);
    await wire.flood([posted(rest, bodyOf(`silent ${'x'.repeat(9_500_000)}`), key)]);
    return verdictOf(wire, 3_000);
  },
  async 'A9 large bodies, no key'(url, signal) {
    const wire = await openWire(url, signal);
    const headers = { 'content-type': 'application/json', 'content-length': 10_400_000 };
    wire.write(headOf('POST', pick([rest, '/trpc/llm.cancel', '/nowhere']), headers));
    return `${await wire.flood([Buffer.alloc(9_900_000, '[')])} ${await verdictOf(wire, 1_000)}`;
  },
  async 'A10 sockets without a key'(url, signal) {
    const wires = Array.from({ length: 100 }, async () => {
      const wire = await openWebSocketWire(url, signal, { search: pick(['', '?connectionParams=1']) });
      await wire?.until(() => false, 2_000);
      return socketVerdictOf(wire, 0);
    });
    return [...new Set(await Promise.all(wires))].join(' ');
  },
  async 'A12 an upstream without end'(url, signal) {
    const wire = await openWire(url, signal);
    wire.write(posted(rest, bodyOf('endless'), { ...key, connection: 'close' }));
    await wire.until(() => false, 10_000);
    return /"code":"(\w+)"/.exec(wire.tail.toString())?.[1] ?? (wire.isClosed ? 'closed' : 'still going');
  },
  async 'A13 cancels of nothing'(url, signal) {
    const wire = await openWire(url, signal);
    for (let number = 0; number < 500; number += 1) {
      wire.write(headOf('DELETE', `/api/llm/generations/${crypto.randomUUID()}`, key));
      await wire.until(({ tail }) => tail.toString('latin1').trimEnd().endsWith('}'), 2_000);
    }
    return /"code":"(\w+)"[^]{0,200}$/.exec(wire.tail.toString())?.[1] ?? 'silence';
  },
  async 'A17 requests of many nodes'(url, signal) {
    const wire = await openWire(url, signal);
    await wire.flood([posted(rest, pick(Object.values(manyNodes))(), key)], { untilAnswered: true });
    return verdictOf(wire, 5_000);
  },
};

const piece = 'x'.repeat(16 << 10);
const endless: readonly ((number: number) => UpstreamEvent | string)[] = [
  () => blockDelta({ type: 'input_json_delta', partial_json: piece }),
  (number) => messageDelta({}, { [`n${number}`]: piece }),
  (number) => blockStart({ type: 'new', piece }, number + 1),
  (number) => blockDelta({ type: 'citations_delta', citation: { number, piece } }),
  () => piece,
];

/** The upstream of the config `hostile`: silent, or endless up to a bound of the script. */
export function playHostile({ body, write, pour }: Exchange): void {
  if (body.includes('"endless"')) {
    const next = pick(endless);
    void pour(
      (function* () {
        yield* [messageStart, textStart];
        for (let number = 0; number < 6_000; number += 1) yield next(number);
      })(),
    );
  } else if (body.includes('silent')) {
    void write(': silent\n\n');
  } else {
    void pour([messageStart, messageDelta({ stop_reason: 'end_turn' }), { type: 'message_stop' }]);
  }
}
