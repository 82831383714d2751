/** The doors as their clients see them, behind one interface, so that one test can run over all of them. */
import { createTRPCClient, createWSClient, TRPCClientError, httpSubscriptionLink, wsLink } from '@trpc/client';
import { EventSource } from 'eventsource';
import superjson from 'superjson';
import { WebSocket } from 'ws';
import {
  isTerminal,
  type ErrorData,
  type FollowRequest,
  type LlmEvent,
  type StreamRequest,
} from '../../src/protocol.ts';
import type { LlmRouter } from '../../src/doors/trpc/router.ts';
import type { Configs } from '../../src/configs/configs.ts';

export interface Seen {
  readonly id: string;
  readonly event: LlmEvent;
}

/** One open subscription. Iterating yields the events that arrive; leaving the loop closes it. */
export interface View extends AsyncIterable<Seen> {
  /** All events that have arrived. */
  readonly seen: readonly Seen[];
  /** Resolves when the subscription has completed; rejects with what it threw. */
  readonly completed: Promise<void>;
  /** The next event that satisfies the test, among those that have arrived or will arrive. */
  until(test: (event: LlmEvent) => boolean): Promise<Seen>;
  close(): void;
}

export interface Door {
  readonly name: string;
  stream(url: string, request: StreamRequest, token?: string): View;
  follow(url: string, request: FollowRequest, token?: string): View;
}

/** The router for a client that doesn't know the config names at compile time. */
export type AnyConfigRouter = LlmRouter<Configs<Record<string, string>>>;

export const doors: readonly Door[] = [
  {
    name: 'sse',
    stream: (url, request, token) => subscribe(sseClient(url, token), 'stream', request),
    follow: (url, request, token) => subscribe(sseClient(url, token), 'follow', request),
  },
  {
    name: 'websocket',
    stream: (url, request, token) => overWebSocket(url, 'stream', request, token),
    follow: (url, request, token) => overWebSocket(url, 'follow', request, token),
  },
  {
    name: 'rest',
    stream: (url, { config, generationId, lastEventId, ...body }, token) =>
      overRest(`${url}/api/llm/process_stream/${encodeURIComponent(config)}`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...bearer(token),
          ...(generationId ? { 'idempotency-key': generationId } : {}),
          ...(lastEventId ? { 'last-event-id': lastEventId } : {}),
        },
        body: JSON.stringify(body),
      }),
    follow: (url, { generationId, thread, lastEventId }, token) => {
      const path =
        thread === undefined
          ? `generations/${generationId}/events`
          : `events?${String(new URLSearchParams({ thread }))}`;
      return overRest(`${url}/api/llm/${path}`, {
        headers: { ...bearer(token), ...(lastEventId ? { 'last-event-id': lastEventId } : {}) },
      });
    },
  },
];

function bearer(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

function sseClient(url: string, token?: string) {
  return createTRPCClient<AnyConfigRouter>({
    links: [
      httpSubscriptionLink({
        url: `${url}/trpc`,
        transformer: superjson,
        EventSource: PostingEventSource,
        eventSourceOptions: { headers: bearer(token) },
      }),
    ],
  });
}

interface PostingOptions {
  readonly headers: Readonly<Record<string, string>>;
}

/** Moves the input from the URL into a body, because a URL ends at 16 KB. Reconnects at once after a cut. */
class PostingEventSource extends EventSource {
  constructor(url: string | URL, options?: PostingOptions) {
    super(url, {
      fetch: (input, init) => {
        const target = new URL(String(input));
        const body = target.searchParams.get('input');
        target.searchParams.delete('input');
        return fetch(target, {
          ...init,
          method: 'POST',
          headers: { ...init.headers, ...options?.headers, 'content-type': 'application/json' },
          body,
        });
      },
    });
  }
}

function overWebSocket(
  url: string,
  procedure: 'stream' | 'follow',
  request: StreamRequest | FollowRequest,
  token: string | undefined,
): View {
  const socket = createWSClient({
    url: `${url.replace('http', 'ws')}/trpc`,
    WebSocket: WebSocket as never,
    retryDelayMs: () => 10,
    ...(token === undefined ? {} : { connectionParams: { token } }),
  });
  const client = createTRPCClient<AnyConfigRouter>({ links: [wsLink({ client: socket, transformer: superjson })] });
  return subscribe(client, procedure, request, () => void socket.close());
}

function subscribe(
  client: ReturnType<typeof sseClient>,
  procedure: 'stream' | 'follow',
  request: StreamRequest | FollowRequest,
  dispose: () => void = () => {},
): View {
  return view((sink) => {
    const subscription = client.llm[procedure].subscribe(request as never, {
      onData: sink.push,
      onError: sink.fail,
      onComplete: sink.complete,
    });
    return () => {
      subscription.unsubscribe();
      dispose();
    };
  });
}

function overRest(url: string, init: RequestInit): View {
  return view((sink) => {
    const abort = new AbortController();
    void (async () => {
      const response = await fetch(url, { ...init, signal: abort.signal });
      if (!response.ok) throw new RestRefusal(response.status, ((await response.json()) as { error: ErrorData }).error);
      for await (const seen of parseEvents(response)) sink.push(seen);
    })().then(sink.complete, sink.fail);
    return () => abort.abort();
  });
}

/** A reader of event streams, plain and slow. */
async function* parseEvents(response: Response): AsyncGenerator<{ id: string; data: LlmEvent }> {
  let unread = '';
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    unread += Buffer.from(chunk).toString('latin1');
    for (let end = unread.indexOf('\n\n'); end >= 0; end = unread.indexOf('\n\n')) {
      const fields = unread.slice(0, end).split('\n');
      unread = unread.slice(end + 2);
      const field = (name: string) => fields.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = field('data');
      if (data === undefined) continue;
      const event = JSON.parse(Buffer.from(data, 'latin1').toString()) as LlmEvent;
      if (field('event') !== event.type) throw new Error(`event: ${field('event')} with a ${event.type}`);
      yield { id: field('id') ?? '', data: event };
    }
  }
}

/** The source of a view's events passes them to this. */
export interface ViewSink {
  readonly push: (arrived: { id: string; data: LlmEvent }) => void;
  readonly fail: (error: unknown) => void;
  readonly complete: () => void;
}

/** @param open Called at once. It returns a function that closes the subscription. */
export function view(open: (sink: ViewSink) => () => void): View {
  const seen: Seen[] = [];
  const waiting = new Set<() => void>();
  let outcome: { error?: unknown } | undefined;
  let settle!: { resolve: () => void; reject: (error: unknown) => void };
  const completed = new Promise<void>((resolve, reject) => (settle = { resolve, reject }));
  completed.catch(() => {});
  const wake = () => {
    for (const each of waiting) each();
    waiting.clear();
  };
  const end = (ended: { error?: unknown }) => {
    if (outcome) return;
    outcome = ended;
    if ('error' in ended) settle.reject(ended.error);
    else settle.resolve();
    close();
    wake();
  };
  const close = open({
    push: ({ id, data }) => {
      seen.push({ id, event: data });
      wake();
    },
    fail: (error) => end({ error }),
    complete: () => end({}),
  });
  const changed = () => new Promise<void>((resolve) => waiting.add(resolve));

  async function* iterate(): AsyncGenerator<Seen> {
    try {
      for (let next = 0; ; next += 1) {
        while (next >= seen.length && !outcome) await changed();
        if (next >= seen.length) break;
        yield seen[next]!;
      }
      if (outcome && 'error' in outcome) throw outcome.error;
    } finally {
      close();
    }
  }
  return {
    seen,
    completed,
    close: () => end({}),
    [Symbol.asyncIterator]: iterate,
    async until(test) {
      for (let next = 0; ; next += 1) {
        while (next >= seen.length && !outcome) await changed();
        const candidate = seen[next];
        if (!candidate) throw outcome && 'error' in outcome ? outcome.error : new Error('the view ended before that');
        if (test(candidate.event)) return candidate;
      }
    },
  };
}

/** All events of a view, to its end. */
export async function readAll({ completed, seen }: View): Promise<readonly Seen[]> {
  await completed;
  return seen;
}

/** The refusal of a view. Fails if it wasn't refused. */
export async function refusalOf({ completed }: View): Promise<ErrorData & { readonly status?: number }> {
  const error: unknown = await completed.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof RestRefusal) return { ...error.data, status: error.status };
  if (error instanceof TRPCClientError) return (error.data as { llm: ErrorData }).llm;
  throw error instanceof Error ? error : new Error('the view was not refused');
}

export class RestRefusal extends Error {
  readonly status: number;
  readonly data: ErrorData;

  constructor(status: number, data: ErrorData) {
    super(`HTTP ${status}: ${data.code}`);
    this.status = status;
    this.data = data;
  }
}

export function textOf(seen: readonly Seen[]): string {
  return seen.map(({ event }) => (event.type === 'text' ? event.text : '')).join('');
}

/** The terminal event of a whole view. Fails unless there is exactly one, and it is the last event. */
export function terminalOf(seen: readonly Seen[]) {
  const terminals = seen.map(({ event }) => event).filter(isTerminal);
  const last = seen.at(-1)?.event;
  if (terminals.length !== 1 || terminals[0] !== last) {
    throw new Error(`expected one terminal event, last; saw ${seen.map(({ event }) => event.type).join(', ')}`);
  }
  return terminals[0]!;
}
