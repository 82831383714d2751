/** A WebSocket by hand: any frames that a test wants, and all answers except heartbeats. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';

export interface RawSocket extends Disposable {
  /** The TCP socket below, so that a test can pause it. */
  readonly tcp: Socket;
  /** Resolves to the close code. */
  readonly closed: Promise<number>;
  /** Sends a string unchanged, bytes in a binary frame, and anything else as JSON. */
  send(message: unknown): void;
  /** The next answer that was not returned yet. Rejects if the socket closes first. */
  next(): Promise<Answer>;
}

export interface Answer {
  readonly id: number | string | null;
  readonly result?: { readonly type: string; readonly id?: string; readonly data?: unknown };
  readonly error?: {
    readonly json: {
      readonly code: number;
      readonly data: { readonly llm: { readonly code: string }; readonly requestId?: string };
    };
  };
}

export async function openSocket(url: string, search = ''): Promise<RawSocket> {
  const webSocket = new WebSocket(`${url.replace('http', 'ws')}/trpc${search}`, { perMessageDeflate: false });
  const answers: Answer[] = [];
  const waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void }[] = [];
  let over: Error | undefined;
  webSocket.on('message', (data: Buffer) => {
    const text = data.toString();
    if (text === 'PING') return webSocket.send('PONG');
    if (text === 'PONG') return;
    const answer = JSON.parse(text) as Answer;
    const waiter = waiting.shift();
    if (waiter) waiter.resolve(answer);
    else answers.push(answer);
  });
  const closed = once(webSocket, 'close').then(([code]) => {
    over = new Error(`the socket was closed with ${code}`);
    for (const { reject } of waiting.splice(0)) reject(over);
    return code as number;
  });
  const upgraded = once(webSocket, 'upgrade') as Promise<[{ readonly socket: Socket }]>;
  await once(webSocket, 'open');
  const [{ socket: tcp }] = await upgraded;
  webSocket.on('error', () => {});
  return {
    tcp,
    closed,
    send(message) {
      webSocket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
    },
    async next() {
      const answer = answers.shift();
      if (answer) return answer;
      if (over) throw over;
      return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    },
    [Symbol.dispose]: () => webSocket.terminate(),
  };
}

/** A subscription as `wsLink` sends it. */
export function subscription(id: number, path: string, json: unknown) {
  return { id, jsonrpc: '2.0', method: 'subscription', params: { path, input: { json } } };
}

/** A query as `wsLink` sends it. */
export function query(id: number, path: string, json?: unknown) {
  return { id, jsonrpc: '2.0', method: 'query', params: { path, input: { json } } };
}
