/**
 * Back pressure for the doors: wait until a client has room again. No door queues; while it waits, the log holds what
 * its viewer has not taken. A client that takes nothing for too long is told by its socket's timeout; to close it is the
 * listener's.
 */
import type { Socket } from 'node:net';

export interface FlowLimits {
  /** Unsent bytes of one connection at which its viewers wait. */
  readonly socketBufferBytesMax: number;
  /** How long a connection may take nothing of what is there for it. */
  readonly socketStallMs: number;
}

/** What a door writes to: an HTTP response, or the TCP socket under a WebSocket. */
export interface Sink {
  readonly destroyed: boolean;
  /** Bytes that it holds unsent. */
  readonly writableLength: number;
  /** Whether a 'drain' is to come. */
  readonly writableNeedDrain: boolean;
  on(event: 'drain' | 'close', listener: () => void): unknown;
}

/** Who waits for a sink; all subscriptions of one WebSocket may do so at once. */
const waiting = new WeakMap<Sink, Set<() => void>>();

/**
 * Waits while the sink holds more than its limit: undefined if it doesn't, so that nothing is awaited where nothing has
 * to be; else settles when there is room, the sink has closed, or the signal aborts.
 *
 * @param unsentBytes What the sink holds, where that isn't what it says itself. Asked anew each time, since other viewers
 *   may fill the same one again.
 */
export function untilRoom(
  sink: Sink,
  signal: AbortSignal,
  { socketBufferBytesMax }: Pick<FlowLimits, 'socketBufferBytesMax'>,
  unsentBytes?: () => number,
): Promise<void> | undefined {
  const unsent = unsentBytes ? unsentBytes() : sink.writableLength;
  return unsent > socketBufferBytesMax
    ? waitForRoom(sink, unsentBytes ?? (() => sink.writableLength), signal, socketBufferBytesMax)
    : undefined;
}

async function waitForRoom(
  sink: Sink,
  unsentBytes: () => number,
  signal: AbortSignal,
  bytesMax: number,
): Promise<void> {
  // A limit below the sink's own high-water mark is met by no 'drain'; then that mark is the limit.
  while (unsentBytes() > bytesMax && sink.writableNeedDrain && !sink.destroyed && !signal.aborted) {
    await new Promise<void>((resolve) => {
      const waiters = waitersOf(sink);
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
 * Sets the socket's timeout while something is unsent, and takes it off when nothing is: with one, each read and write winds
 * a timer up. To be called after each write, and now and then. Node takes each part of a long write that leaves for progress.
 */
export function watchForStall(socket: Socket, { socketStallMs }: Pick<FlowLimits, 'socketStallMs'>): void {
  const timeoutMs = socket.writableLength > 0 ? socketStallMs : 0;
  if (socket.timeout !== timeoutMs) socket.setTimeout(timeoutMs);
}

function waitersOf(sink: Sink): Set<() => void> {
  let waiters = waiting.get(sink);
  if (!waiters) {
    const all = new Set<() => void>();
    const wake = () => {
      for (const settle of all) settle();
    };
    sink.on('drain', wake);
    sink.on('close', wake);
    waiting.set(sink, (waiters = all));
  }
  return waiters;
}
