/**
 * The WebSocket of this runtime, in the form in which tRPC's client gets it: it sends each message by itself, and
 * reports every sign of life.
 */
import type { Silence } from './silence.ts';

/** Any implementation of the browsers' WebSocket, such as that of the package `ws`. */
export type WebSocketConstructor = new (url: string) => {
  /** Sends one text message. */
  send(message: string): void;
  /** Adds a listener, as on any EventTarget. */
  addEventListener(type: 'open' | 'message' | 'close', listener: () => void): void;
};

/** How long the other side may take to agree to a close before its socket is cut. */
const closeMs = 1_000;

/**
 * tRPC's client sends all operations that begin while a socket opens as one message, and the service bounds the size of
 * a message. This encoder leaves them apart, and `sendingOneByOne` sends each as a message.
 */
export const oneByOne = {
  encode: (messages: unknown) =>
    (Array.isArray(messages) ? messages.map((each) => JSON.stringify(each)) : JSON.stringify(messages)) as string,
  decode: (message: unknown): unknown => JSON.parse(message as string),
};

/** A WebSocket that sends what `oneByOne` encodes. */
export function sendingOneByOne(WebSocket: WebSocketConstructor): WebSocketConstructor {
  return class extends WebSocket {
    override send(messages: string | readonly string[]): void {
      for (const message of [messages].flat()) super.send(message);
    }
  };
}

/**
 * A WebSocket whose silence is watched while it is open.
 *
 * @param silenceMs How long it may be silent until the service announces a time.
 */
export function watched(WebSocket: WebSocketConstructor, silence: Silence, silenceMs: number): WebSocketConstructor {
  return class extends WebSocket {
    constructor(url: string) {
      super(url);
      this.addEventListener('open', () => silence.watch(silenceMs));
      this.addEventListener('message', () => silence.heard());
      this.addEventListener('close', () => silence.stop());
    }
  };
}

interface CloseableSocket {
  readonly readyState: number;
  close(): void;
  /** Only the WebSocket of `ws` has it. */
  terminate?(): void;
  addEventListener(type: 'close' | 'error', listener: () => void): void;
}

const readyStateClosed = 3;

/** Closes a socket. Settles when it is closed, after a second at the latest. */
export async function closeSocket(socket: CloseableSocket): Promise<void> {
  if (socket.readyState === readyStateClosed) return;
  await new Promise<void>((resolve) => {
    const settle = () => {
      clearTimeout(deadline);
      resolve();
    };
    const deadline = setTimeout(() => {
      socket.terminate?.();
      settle();
    }, closeMs);
    socket.addEventListener('close', settle);
    socket.close();
  });
}
