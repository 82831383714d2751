/**
 * Connections by hand, for clients that follow no rule: any bytes, as fast as the peer takes them and no faster. A
 * connection closes when its signal aborts.
 */
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';

/** How a flood ended: the peer took all of it, answered, closed, or took nothing more for a while. */
export type FloodEnd = 'taken' | 'answered' | 'closed' | 'stalled';

/** A flood gives up when the peer has answered this many others and has taken nothing meanwhile. */
const answersBeforeStall = 150;
const keptBytesMax = 256 * 1_024;
const tailBytesMax = 64 * 1_024;
const writeBytes = 64 * 1_024;

export interface Wire {
  readonly socket: Socket;
  /** The beginning of what arrived, 256 KiB at most. */
  readonly received: Buffer;
  /** The end of what arrived, 64 KiB at most. */
  readonly tail: Buffer;
  readonly bytesReceived: number;
  readonly isClosed: boolean;
  /** Resolves when either side has closed the connection. */
  readonly closed: Promise<void>;
  write(bytes: Buffer | string): void;
  /**
   * Writes all of it, unless the peer closes or stalls first. With `untilAnswered` it also stops at the peer's first
   * answer.
   */
  flood(pieces: Iterable<Buffer | string>, options?: { readonly untilAnswered?: boolean }): Promise<FloodEnd>;
  /** Resolves once what arrived satisfies the test, or the connection is closed, or the time is up. */
  until(test: (wire: Wire) => boolean, withinMs?: number): Promise<void>;
}

export async function openWire(url: string, signal: AbortSignal): Promise<Wire> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), noDelay: true });
  socket.on('error', () => {});
  const destroy = () => void socket.destroy();
  signal.addEventListener('abort', destroy, { once: true });
  if (signal.aborted) destroy();
  let received = Buffer.alloc(0);
  let tail = Buffer.alloc(0);
  let bytesReceived = 0;
  let isClosed = false;
  socket.on('data', (chunk: Buffer) => {
    bytesReceived += chunk.length;
    if (received.length < keptBytesMax) received = Buffer.concat([received, chunk]);
    tail = Buffer.concat([tail, chunk]).subarray(-tailBytesMax);
  });
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      isClosed = true;
      signal.removeEventListener('abort', destroy);
      resolve();
    });
  });
  await Promise.race([once(socket, 'connect').catch(() => {}), closed]);

  const wire: Wire = {
    socket,
    closed,
    get received() {
      return received;
    },
    get tail() {
      return tail;
    },
    get bytesReceived() {
      return bytesReceived;
    },
    get isClosed() {
      return isClosed;
    },
    write(bytes) {
      if (socket.writable) socket.write(bytes);
    },
    async flood(pieces, { untilAnswered = false } = {}) {
      const over = (): FloodEnd | undefined => {
        if (isClosed || !socket.writable) return 'closed';
        return untilAnswered && bytesReceived > 0 ? 'answered' : undefined;
      };
      for (const batch of batches(pieces)) {
        const end = over();
        if (end) return end;
        if (!socket.write(batch) && !(await drained(url, socket, closed))) return over() ?? 'stalled';
      }
      return over() ?? 'taken';
    },
    async until(test, withinMs = 10_000) {
      const time = new AbortController();
      const timer = setTimeout(() => time.abort(), withinMs);
      try {
        while (!isClosed && !time.signal.aborted && !test(wire)) {
          await Promise.race([once(socket, 'data', { signal: time.signal }).catch(() => {}), closed]);
        }
      } finally {
        clearTimeout(timer);
        time.abort();
      }
    },
  };
  return wire;
}

/**
 * Whether the socket drained in time. If the peer answers many others and still takes nothing, it doesn't read this
 * connection: between two answers it takes up to 64 KiB from each connection, and the system holds some megabytes on
 * the way.
 */
async function drained(url: string, socket: Socket, closed: Promise<void>): Promise<boolean> {
  const over = new AbortController();
  const drain = once(socket, 'drain', { signal: over.signal }).then(
    () => true,
    () => false,
  );
  const agent = new Agent({ keepAlive: true });
  const others = async () => {
    for (let answer = 0; answer < answersBeforeStall && !over.signal.aborted; answer += 1) await isWell(url, agent);
    return false;
  };
  try {
    return await Promise.race([drain, closed.then(() => true), others()]);
  } finally {
    over.abort();
    agent.destroy();
  }
}

function isWell(url: string, agent: Agent): Promise<void> {
  return new Promise((resolve) => {
    const asked = httpRequest(`${url}/healthz`, { agent }, (response) => {
      response.resume().on('end', resolve);
    });
    asked.on('error', () => resolve());
    asked.end();
  });
}

function* batches(pieces: Iterable<Buffer | string>): Generator<Buffer> {
  let batch: Buffer[] = [];
  let bytes = 0;
  for (const piece of pieces) {
    const buffer = typeof piece === 'string' ? Buffer.from(piece) : piece;
    batch.push(buffer);
    bytes += buffer.length;
    if (bytes < writeBytes) continue;
    yield Buffer.concat(batch);
    batch = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(batch);
}

// ----------------------------------------------------------------------------------------------------------- HTTP

/**
 * `401 unauthorized`, `closed` without an answer, `silence`, or the status and `open` if the answer is a running
 * stream. Ignores everything after the first answer.
 */
export async function verdictOf(wire: Wire, withinMs?: number): Promise<string> {
  const text = () => wire.received.toString('latin1');
  await wire.until(() => isAnswered(text()), withinMs);
  const status = /^HTTP\/1\.1 (\d{3})/.exec(text())?.[1];
  if (status === undefined) return wire.isClosed ? 'closed' : 'silence';
  const code = codeIn(text());
  if (code !== undefined) return `${status} ${code}`;
  return isAnswered(text()) || wire.isClosed ? status : `${status} open`;
}

function codeIn(text: string): string | undefined {
  return /\\?"code\\?":\s*\\?"([a-z_]+)/.exec(text)?.[1];
}

/** Whether the first answer is complete, or has already named a code. */
function isAnswered(text: string): boolean {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd === -1) return false;
  const head = text.slice(0, headEnd);
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
  if (length !== undefined) return text.length >= headEnd + 4 + Number(length);
  return /^HTTP\/1\.1 (1|204)/.test(head) || codeIn(text) !== undefined || text.endsWith('\r\n0\r\n\r\n');
}

/** The refusals that are right for a request, whatever bound it exceeds. */
export const refusal =
  /^(?:\d{3} )?(?:at_capacity|rate_limited|too_large|invalid_input|unauthorized|config_not_found|generation_not_found)$|^closed$|^4\d\d$/;

export function headOf(
  method: string,
  path: string,
  headers: Readonly<Record<string, string | number>> = {},
  host = 'localhost',
): string {
  const lines = Object.entries({ host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** A whole request with a JSON body. */
export function posted(path: string, json: string | Buffer, headers: Readonly<Record<string, string>> = {}): Buffer {
  const body = Buffer.from(json);
  const all = { 'content-type': 'application/json', 'content-length': body.length, ...headers };
  return Buffer.concat([Buffer.from(headOf('POST', path, all)), body]);
}

export const jsonChunked = { 'content-type': 'application/json', 'transfer-encoding': 'chunked' };

/** The text in chunks of one byte each. */
export function* inOneByteChunks(text: string): Generator<string> {
  for (let at = 0; at < text.length; at += 1_000) {
    yield text.slice(at, at + 1_000).replace(/[^]/g, '1\r\n$&\r\n');
  }
  yield '0\r\n\r\n';
}

export function* repeat(piece: string | Buffer, times: number): Generator<string | Buffer> {
  const many = Buffer.concat(Array.from({ length: Math.min(times, 1_000) }, () => Buffer.from(piece)));
  let left = times;
  for (; left >= 1_000; left -= 1_000) yield many;
  for (; left > 0; left -= 1) yield piece;
}

// ------------------------------------------------------------------------------------------------------ WebSocket

/** A WebSocket after its handshake; `undefined` if the handshake was refused. */
export async function openWebSocketWire(
  url: string,
  signal: AbortSignal,
  { search = '', headers = {} }: { search?: string; headers?: Readonly<Record<string, string>> } = {},
): Promise<Wire | undefined> {
  const wire = await openWire(url, signal);
  wire.write(
    headOf('GET', `/trpc${search}`, {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': 13,
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      ...headers,
    }),
  );
  await wire.until(({ received }) => received.includes('\r\n\r\n'));
  return wire.received.toString('latin1').startsWith('HTTP/1.1 101') ? wire : undefined;
}

/** A frame of a client, under a mask of zeros. Opcodes: 1 text, 2 binary, 9 ping, 0 continues the message before. */
export function frame(payload: string | Buffer, opcode = 1, final = true): Buffer {
  const body = Buffer.from(payload);
  const long = body.length > 0xffff;
  const lengthBytes = long ? 8 : body.length > 125 ? 2 : 0;
  const head = Buffer.alloc(2 + lengthBytes + 4);
  head[0] = (final ? 0x80 : 0) | opcode;
  head[1] = 0x80 | (long ? 127 : lengthBytes > 0 ? 126 : body.length);
  if (long) head.writeBigUInt64BE(BigInt(body.length), 2);
  else if (lengthBytes > 0) head.writeUInt16BE(body.length, 2);
  return Buffer.concat([head, body]);
}

/** The text of the frames that arrived after the handshake, as far as it was kept. */
export function framesIn({ received }: Wire): string[] {
  const texts: string[] = [];
  let at = received.indexOf('\r\n\r\n') + 4;
  while (at + 2 <= received.length) {
    const short = received[at + 1]! & 0x7f;
    const lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0;
    const start = at + 2 + lengthBytes;
    if (start > received.length) break;
    const length =
      lengthBytes === 8
        ? Number(received.readBigUInt64BE(at + 2))
        : lengthBytes === 2
          ? received.readUInt16BE(at + 2)
          : short;
    // Bytes that were not kept, or have not arrived, are no frame.
    if (start + length > received.length) break;
    const opcode = received[at]! & 0x0f;
    if (opcode === 1) texts.push(received.toString('utf8', start, start + length));
    if (opcode === 8) texts.push(`closed with ${length >= 2 ? received.readUInt16BE(start) : 1005}`);
    at = start + length;
  }
  return texts;
}

/** As `verdictOf`, for a WebSocket: the code of its first answer, how it was closed, or `silence`. */
export async function socketVerdictOf(wire: Wire | undefined, withinMs?: number): Promise<string> {
  if (!wire) return 'closed';
  // That a subscription has started is no verdict: a refusal may follow.
  const told = () => framesIn(wire).filter((text) => !/^P[IO]NG$|"type":"started"/.test(text));
  await wire.until(() => told().length > 0, withinMs);
  const [first] = told();
  if (first === undefined) return wire.isClosed ? 'closed' : 'silence';
  if (first.startsWith('closed')) return 'closed';
  return codeIn(first) ?? (/"error"/.test(first) ? 'error' : 'answered');
}

// ---------------------------------------------------------------------------------------------------- every door

/** How a door answers a `llm.stream` request that is given as JSON, and with how many bytes. */
export interface Answered {
  readonly verdict: string;
  readonly bytes: number;
}

export const doorsByHand: Readonly<
  Record<string, (url: string, json: string, signal: AbortSignal) => Promise<Answered>>
> = {
  async rest(url, json, signal) {
    const wire = await openWire(url, signal);
    await wire.flood([posted('/api/llm/process_stream/default', json)], { untilAnswered: true });
    return { verdict: await verdictOf(wire), bytes: wire.bytesReceived };
  },
  async sse(url, json, signal) {
    const wire = await openWire(url, signal);
    await wire.flood([posted('/trpc/llm.stream', `{"json":${json}}`, { accept: 'text/event-stream' })], {
      untilAnswered: true,
    });
    return { verdict: await verdictOf(wire), bytes: wire.bytesReceived };
  },
  async websocket(url, json, signal) {
    const wire = await openWebSocketWire(url, signal);
    await wire?.flood([
      frame(`{"id":1,"method":"subscription","params":{"path":"llm.stream","input":{"json":${json}}}}`),
    ]);
    return { verdict: await socketVerdictOf(wire), bytes: wire?.bytesReceived ?? 0 };
  },
};
