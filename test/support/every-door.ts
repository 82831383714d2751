/**
 * Every way in, with a client that reconnects after a cut: the stock links, our own client, REST with a reader that
 * asks again, and the router called within the process. Tests of promises that hold whatever happens run over all of
 * them.
 */
import { createLlmClient } from '../../src/client.ts';
import type { FollowRequest, LlmEvent, StreamRequest } from '../../src/protocol.ts';
import { doors, RestRefusal, view, type AnyConfigRouter, type Door, type View, type ViewSink } from './doors.ts';
import type { TestService } from './service.ts';
import type { TcpProxy } from './tcp-proxy.ts';

export interface LastingDoor extends Door {
  /**
   * Cuts everyone who came in by the proxy's URL. If the door needs no connection, cuts everyone who came in through
   * this door.
   */
  cut(proxy: TcpProxy): void;
}

const [sse, webSocket, rest] = doors as [Door, Door, Door];

export const lastingDoors: readonly LastingDoor[] = [
  overNetwork(sse, 'sse, stock link'),
  overNetwork(webSocket, 'websocket, stock link'),
  overNetwork(ownClient('sse'), 'sse, own client'),
  overNetwork(ownClient('ws'), 'websocket, own client'),
  overNetwork(lasting(rest), 'rest'),
];

/** The router itself, called as a host would call it. */
export function inProcessDoor(service: () => TestService): LastingDoor {
  const open = new Set<() => void>();
  const call = (procedure: 'stream' | 'follow', request: StreamRequest | FollowRequest) =>
    view((sink) => {
      const abort = new AbortController();
      const drop = () => {
        sink.fail(new Error('cut off'));
        abort.abort();
      };
      open.add(drop);
      void (async () => {
        const { llm } = service().service.core.router.createCaller({}, { signal: abort.signal });
        // For adapters an event is a pair of its id and its data. The type describes what clients make of it.
        const events = (await llm[procedure](request as never)) as unknown as AsyncIterable<[string, LlmEvent]>;
        for await (const [id, data] of events) sink.push({ id, data });
      })().then(sink.complete, sink.fail);
      return () => {
        open.delete(drop);
        abort.abort();
      };
    });
  const once: Door = {
    name: 'in-process',
    stream: (_url, request) => call('stream', request),
    follow: (_url, request) => call('follow', request),
  };
  return {
    ...lasting(once),
    cut() {
      for (const drop of [...open]) drop();
    },
  };
}

function overNetwork(door: Door, name: string): LastingDoor {
  return { ...door, name, cut: (proxy) => proxy.cut() };
}

function ownClient(transport: 'sse' | 'ws'): Door {
  const subscribe = (procedure: 'stream' | 'follow') => (url: string, request: StreamRequest | FollowRequest) =>
    view((sink) => {
      const client = createLlmClient<AnyConfigRouter>({ url, transport, reconnect: { delayMs: 1, delayMsMax: 10 } });
      const subscription = client.trpc.llm[procedure].subscribe(request as never, {
        onData: sink.push,
        onError: sink.fail,
        onComplete: sink.complete,
      });
      return () => {
        subscription.unsubscribe();
        void client.close();
      };
    });
  return { name: transport, stream: subscribe('stream'), follow: subscribe('follow') };
}

/** Asks again, after the last event, until there is a terminal event. */
function lasting(door: Door): Door {
  const again = <Request extends StreamRequest | FollowRequest>(open: (request: Request) => View, request: Request) =>
    view((sink) => {
      let left = false;
      let current: View | undefined;
      void (async () => {
        let lastEventId = request.lastEventId;
        let over = false;
        while (!left && !over) {
          current = open({ ...request, lastEventId });
          const reading = current;
          over = await read(reading, sink, (id) => (lastEventId = id));
        }
      })().then(sink.complete, sink.fail);
      return () => {
        left = true;
        current?.close();
      };
    });
  return {
    name: door.name,
    stream: (url, request) => again((asked) => door.stream(url, asked), request),
    follow: (url, request) => again((asked) => door.follow(url, asked), request),
  };
}

/** True if the view was read to its end, false if it was cut off. Throws the refusal if there was one. */
async function read(reading: View, sink: ViewSink, passed: (id: string) => void): Promise<boolean> {
  let any = false;
  let ended = false;
  try {
    for await (const { id, event } of reading) {
      any = true;
      passed(id);
      sink.push({ id, data: event });
      ended = event.type === 'done' || event.type === 'cancelled' || event.type === 'error';
    }
    await reading.completed;
    // After the terminal event no event follows.
    return ended || !any;
  } catch (error) {
    if (isRefusal(error)) throw error;
    return ended;
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof RestRefusal || (error instanceof Error && error.name === 'TRPCError');
}
