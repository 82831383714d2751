/** A `fetch` as browsers have it over HTTP/1.1: six connections at once, and the seventh request waits. */

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface SixConnections {
  readonly fetch: Fetch;
  /** How many requests hold a connection. */
  readonly open: number;
  /** How many requests wait for one. */
  readonly waiting: number;
}

const connectionsMax = 6;

export function sixConnections(): SixConnections {
  const line: (() => void)[] = [];
  let open = 0;

  async function take(signal: AbortSignal | null | undefined): Promise<void> {
    if (open >= connectionsMax) {
      await new Promise<void>((resolve, reject) => {
        line.push(resolve);
        signal?.addEventListener('abort', () => {
          const at = line.indexOf(resolve);
          if (at >= 0) line.splice(at, 1);
          reject(signal.reason as Error);
        });
      });
    }
    open += 1;
  }

  function giveBack(): void {
    open -= 1;
    line.shift()?.();
  }

  return {
    get open() {
      return open;
    },
    get waiting() {
      return line.length;
    },
    async fetch(url, init) {
      await take(init.signal);
      try {
        const response = await fetch(url, init);
        return new Response(watched(response.body!, giveBack), response);
      } catch (error) {
        giveBack();
        throw error;
      }
    },
  };
}

/** The body, and a callback when it has ended in any way. */
function watched(body: ReadableStream<Uint8Array>, ended: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let over = false;
  const end = () => {
    if (!over) ended();
    over = true;
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        controller.close();
        end();
      } catch (error) {
        controller.error(error);
        end();
      }
    },
    async cancel(reason) {
      await reader.cancel(reason).catch(() => {});
      end();
    },
  });
}
