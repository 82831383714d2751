/**
 * Back pressure for the doors: wait until a client has room again. No door queues; while it waits, the log holds what
 * its viewer has not taken. To close the connection of a client that takes nothing for too long is the listener's.
 */
import type { Socket } from 'node:net';

export interface FlowLimits {
  /** Unsent bytes of one connection at which its viewers wait. */
  readonly socketBufferBytesMax: number;
  /** How long a connection may take nothing of what is there for it. */
  readonly socketStallMs: number;
}

/** What a door writes to: an HTTP response, or the TCP socket under a WebSocket. */
export interface Outlet {
  readonly destroyed: boolean;
  /** Bytes that it holds unsent. */
  readonly writableLength: number;
  /** Whether a 'drain' is to come. */
  readonly writableNeedDrain: boolean;
  on(event: 'drain' | 'close', listener: () => void): unknown;
}

/** Who waits for an outlet; all subscriptions of one WebSocket may do so at once. */
const waiting = new WeakMap<Outlet, Set<() => void>>();

/**
 * Waits while the outlet holds more than its limit: undefined if it doesn't, so that nothing is awaited where nothing has
 * to be; else settles when there is room, it has closed, or the signal aborts.
 *
 * @param unsentBytes What it holds, where that isn't what it says itself. Asked anew each time, since other viewers
 *   may fill the same one again.
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
  // A limit below the outlet's own high-water mark is met by no 'drain'; then that mark is the limit.
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
 * What is written to the socket before the promises at hand have settled leaves in one piece: each write to the system costs
 * as much as half a token.
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
