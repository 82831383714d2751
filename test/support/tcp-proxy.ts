/** A TCP proxy between a client and the service. Tests make it cut at any byte, hold back, slow down and continue. */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';

export interface TcpProxy extends AsyncDisposable {
  readonly url: string;
  /** Connections made through it so far. */
  readonly connections: number;
  /** Bytes that went from the service to clients. */
  readonly bytesDown: number;
  /** The target of connections that are made from now on. */
  retarget(target: string): void;
  /** Destroys every open connection, on both sides. New connections are let through. */
  cut(): void;
  /** Cuts by itself once this many more bytes have gone to the client, wherever in the stream that is. */
  cutAfter(bytes: number): void;
  /** How many times `cutAfter` has cut so far. */
  readonly cuts: number;
  /** How many of these cuts fell within bytes that the service had sent at once. */
  readonly cutsWithin: number;
  /** Reads nothing more from the service, as a client that stopped reading. */
  pause(): void;
  /**
   * From now on passes on this many bytes per millisecond, on each connection. If the machine is busy, it catches up
   * later.
   */
  slow(bytesPerMs: number): void;
  resume(): void;
}

/** How long a slowed connection pauses after it has passed on its share. */
const slowTickMs = 10;

export async function startTcpProxy(target: string): Promise<TcpProxy> {
  let { hostname, port } = new URL(target);
  const pairs = new Set<{ client: Socket; service: Socket }>();
  let connections = 0;
  let bytesDown = 0;
  let cutAt = Infinity;
  let cuts = 0;
  let cutsWithin = 0;
  let paused = false;
  let bytesPerMs = Infinity;

  const server = createServer((client) => {
    connections += 1;
    const service = connect(Number(port), hostname);
    const pair = { client, service };
    pairs.add(pair);
    const drop = () => {
      client.destroy();
      service.destroy();
      pairs.delete(pair);
    };
    for (const socket of [client, service]) socket.on('error', drop).on('close', drop).setNoDelay();
    if (paused) service.pause();
    let slowTick: NodeJS.Timeout | undefined;
    const openedAtMs = performance.now();
    let passedBytes = 0;
    const bytesDue = () => (bytesPerMs === Infinity ? Infinity : bytesPerMs * (performance.now() - openedAtMs));
    client.on('data', (chunk) => {
      if (!service.write(chunk)) client.pause();
    });
    service.on('drain', () => client.resume());
    service.on('data', (arrived) => {
      const chunk = arrived.subarray(0, Math.max(0, bytesDue() - passedBytes));
      const cutHere = bytesDown + chunk.length >= cutAt;
      const passed = cutHere ? chunk.subarray(0, Math.max(0, cutAt - bytesDown)) : chunk;
      bytesDown += passed.length;
      passedBytes += passed.length;
      if (cutHere) {
        cutAt = Infinity;
        cuts += 1;
        if (passed.length < chunk.length) cutsWithin += 1;
        // The bytes that were passed on must arrive; all bytes after them are lost.
        client.end(passed);
        service.destroy();
        return;
      }
      if (!client.write(passed)) service.pause();
      if (chunk.length === arrived.length) return;
      service.pause();
      service.unshift(arrived.subarray(chunk.length));
      clearTimeout(slowTick);
      slowTick = setTimeout(() => {
        if (!paused && !client.writableNeedDrain) service.resume();
      }, slowTickMs);
    });
    service.once('close', () => clearTimeout(slowTick));
    client.on('drain', () => {
      if (!paused) service.resume();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const cut = () => {
    for (const { client, service } of pairs) {
      client.destroy();
      service.destroy();
    }
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections;
    },
    get bytesDown() {
      return bytesDown;
    },
    get cuts() {
      return cuts;
    },
    get cutsWithin() {
      return cutsWithin;
    },
    slow(next) {
      bytesPerMs = next;
    },
    retarget(next) {
      ({ hostname, port } = new URL(next));
    },
    cut,
    cutAfter(bytes) {
      cutAt = bytesDown + bytes;
    },
    pause() {
      paused = true;
      for (const { service } of pairs) service.pause();
    },
    resume() {
      paused = false;
      for (const { service } of pairs) service.resume();
    },
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
