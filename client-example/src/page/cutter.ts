/**
 * Cuts connections for the lab as a network would. Aborting a body would not do: browsers report that as the page's own
 * action, each in other words, while they report a lost connection as a failure.
 */
export class Cutter {
  readonly #sockets = new Set<WebSocket>();
  readonly #requests = new Set<() => void>();

  /** Also cuts this socket, until it is closed. */
  add(socket: WebSocket): void {
    this.#sockets.add(socket);
    socket.addEventListener('close', () => this.#sockets.delete(socket));
  }

  cut(): void {
    for (const fail of this.#requests) fail();
    this.#requests.clear();
    for (const socket of this.#sockets) socket.close();
  }

  /** Behaves as the browser's own `fetch` until it is cut. */
  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const waiting = new AbortController();
    const signal = AbortSignal.any([waiting.signal, ...(init.signal ? [init.signal] : [])]);
    const fail = () => waiting.abort();
    this.#requests.add(fail);
    let response: Response;
    try {
      response = await fetch(url, { ...init, signal });
    } catch (error) {
      throw waiting.signal.aborted ? lost() : error;
    } finally {
      this.#requests.delete(fail);
    }
    return response.body ? new Response(this.#cuttable(response.body), response) : response;
  };

  #cuttable(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const reader = body.getReader();
    let fail: () => void;
    const end = () => this.#requests.delete(fail);
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          fail = () => {
            controller.error(lost());
            void reader.cancel().catch(() => {});
          };
          this.#requests.add(fail);
        },
        async pull(controller) {
          try {
            const { done, value } = await reader.read();
            if (!done) controller.enqueue(value);
            else if (end()) controller.close();
          } catch (error) {
            if (end()) controller.error(error);
          }
        },
        async cancel(reason) {
          end();
          await reader.cancel(reason);
        },
      },
      { highWaterMark: 0 },
    );
  }
}

function lost(): TypeError {
  return new TypeError('The connection was cut');
}
