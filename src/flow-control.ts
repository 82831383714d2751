/**
 * Back pressure for the doors: wait until a socket has room again. No door queues; while it waits, the log holds what
 * its viewer has not taken. A socket that makes no headway for too long is destroyed, and its client resumes.
 */
import type { Socket } from 'node:net';

export interface FlowLimits {
  /** Unsent bytes of one socket at which its viewers wait. */
  readonly socketBufferBytesMax: number;
  /** How long a socket may stay full before it is taken for dead. */
  readonly socketStallMs: number;
}

/**
 * Waits while the socket holds more than its limit: undefined if it doesn't, so that nothing is awaited where nothing has
 * to be; else settles when there is room, the socket has closed, or the signal aborts.
 *
 * @param unsentBytes What the socket holds; asked anew each time, since other viewers may fill the same socket again.
 */
export function untilRoom(
  socket: Socket,
  unsentBytes: () => number,
  signal: AbortSignal,
  limits: FlowLimits,
): Promise<void> | undefined {
  return unsentBytes() > limits.socketBufferBytesMax ? waitForRoom(socket, unsentBytes, signal, limits) : undefined;
}

async function waitForRoom(
  socket: Socket,
  unsentBytes: () => number,
  signal: AbortSignal,
  limits: FlowLimits,
): Promise<void> {
  while (unsentBytes() > limits.socketBufferBytesMax && !signal.aborted && !socket.destroyed) {
    await drained(socket, signal, limits.socketStallMs);
  }
}

/** The limit is above every socket's high-water mark, so whoever waits for a drain has one to come. */
function drained(socket: Socket, signal: AbortSignal, stallMs: number): Promise<void> {
  // All subscriptions of one WebSocket may wait here at once.
  socket.setMaxListeners(0);
  return new Promise((resolve) => {
    const stall = setTimeout(() => socket.destroy(), stallMs);
    const settle = () => {
      clearTimeout(stall);
      socket.off('drain', settle);
      socket.off('close', settle);
      signal.removeEventListener('abort', settle);
      resolve();
    };
    socket.on('drain', settle);
    socket.on('close', settle);
    signal.addEventListener('abort', settle);
  });
}
