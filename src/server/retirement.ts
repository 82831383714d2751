/**
 * How a listener gives its connections up without failing a request: responses say that theirs is the last one of their connection,
 * WebSockets ask their clients to open others, and connections without a request are closed. Whatever a client asks meanwhile is
 * served as ever.
 */
import type { OpenResponses } from './open-responses.ts';

/** How often connections are looked at. One that has been idle at two looks is closed: no request can be on its way for so long. */
const lookMs = 500;

export class Retirement implements Disposable {
  readonly #responses: OpenResponses;
  readonly #webSockets: () => number;
  #looks: NodeJS.Timeout | undefined;
  #allLeft: Promise<void> | undefined;

  /** @param webSockets Returns how many WebSockets are open. */
  constructor(responses: OpenResponses, webSockets: () => number) {
    this.#responses = responses;
    this.#webSockets = webSockets;
  }

  get begun(): boolean {
    return this.#allLeft !== undefined;
  }

  /** Settles once no connection is left, or never, where it is disposed before. */
  begin(): Promise<void> {
    this.#allLeft ??= new Promise((resolve) => {
      let idle = new WeakSet<object>();
      this.#looks = setInterval(() => {
        const before = idle;
        idle = new WeakSet();
        let open = this.#webSockets();
        for (const socket of this.#responses.connections) {
          open += 1;
          if (!this.#responses.isIdle(socket)) continue;
          if (before.has(socket)) socket.destroy();
          idle.add(socket);
        }
        if (open > 0) return;
        this[Symbol.dispose]();
        resolve();
      }, lookMs);
    });
    return this.#allLeft;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#looks);
  }
}
