/**
 * Back pressure for the doors: a door waits here until its client's connection has room again. No door queues events; while it waits,
 * the log holds them. The listener closes the connection of a client that takes nothing for too long.
 */
import type { Socket } from 'node:net';

export interface FlowLimits {
  /** The viewers of a connection wait while it holds more unsent bytes than this. */
  readonly socketBufferBytesMax: number;
  /** How long a connection may take none of its unsent bytes before it is closed. */
  readonly socketStallMs: number;
}

/** What a door writes to: an HTTP response, or the TCP socket under a WebSocket. */
export interface Outlet {
  readonly destroyed: boolean;
  /** Bytes that were written to it and have not left. */
  readonly writableLength: number;
  /** Whether it will emit 'drain'. */
  readonly writableNeedDrain: boolean;
  on(event: 'drain' | 'close', listener: () => void): unknown;
}

/** The waiting viewers of each outlet. All subscriptions of one WebSocket may wait for it at once. */
const waiting = new WeakMap<Outlet, Set<() => void>>();

/**
 * Waits while the outlet holds more unsent bytes than the limit. Returns undefined if it doesn't, so that the hot path awaits nothing.
 * Otherwise the promise settles when the outlet has room or has closed, or when the signal aborts.
 *
 * @param unsentBytes The number of unsent bytes, for an outlet whose own `writableLength` doesn't count them all. It is called after
 *   each 'drain' again, since other viewers may have filled the same outlet meanwhile.
 */
export function untilRoom(
  outlet: Outlet,
  signal: AbortSignal,
  { socketBufferBytesMax }: Pick<FlowLimits, 'socketBufferBytesMax'>,
  unsentBytes?: () => number,
): Promise<void> | undefined {
  const unsent = unsentBytes ? unsentBytes() : outlet.writableLength;
  return unsent > socketBufferBytesMax
    ? waitForRoom(outlet, unsentBytes ?? (() => outlet.writableLength), signal, socketBufferBytesMax)
    : undefined;
}

async function waitForRoom(
  outlet: Outlet,
  unsentBytes: () => number,
  signal: AbortSignal,
  bytesMax: number,
): Promise<void> {
  // Below its own high-water mark an outlet emits no 'drain'. Where the limit is lower, the mark is the limit.
  while (unsentBytes() > bytesMax && outlet.writableNeedDrain && !outlet.destroyed && !signal.aborted) {
    await new Promise<void>((resolve) => {
      const waiters = waitersOf(outlet);
      const settle = () => {
        waiters.delete(settle);
        signal.removeEventListener('abort', settle);
        resolve();
      };
      waiters.add(settle);
      signal.addEventListener('abort', settle);
    });
  }
}

/**
 * Sends everything that is written to the socket before the next tick in one write to the system. Each write to the system costs as
 * much as half a token's way through the service.
 */
export function leaveTogether(socket: Socket): void {
  socket.cork();
  process.nextTick(uncork, socket);
}

function uncork(socket: Socket): void {
  socket.uncork();
}

function waitersOf(outlet: Outlet): Set<() => void> {
  let waiters = waiting.get(outlet);
  if (!waiters) {
    const all = new Set<() => void>();
    const wake = () => {
      for (const settle of all) settle();
    };
    outlet.on('drain', wake);
    outlet.on('close', wake);
    waiting.set(outlet, (waiters = all));
  }
  return waiters;
}
