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
 * Settles when the socket has sent all it held, has closed, or the signal aborts; destroys it after `socketStallMs`.
 * To be called only while the socket holds more than its high-water mark, for otherwise it has no 'drain' to come.
 */
export function drained(socket: Socket, signal: AbortSignal, limits: FlowLimits): Promise<void> {
  return new Promise((resolve) => {
    const stall = setTimeout(() => socket.destroy(), limits.socketStallMs);
    const settle = () => {
      clearTimeout(stall);
      socket.off('drain', settle);
      socket.off('close', settle);
      signal.removeEventListener('abort', settle);
      resolve();
    };
    if (signal.aborted || socket.destroyed) return settle();
    socket.on('drain', settle);
    socket.on('close', settle);
    signal.addEventListener('abort', settle);
  });
}
