/** How a client requests a stream from each kind of server, and where in the response the text stands. */
import { HttpConnection, WebSocketConnection, type Connection } from './connections.ts';

export interface Door {
  connect(url: URL): Connection;
  /** The bytes to send on the connection. `id` is the generation's, for servers that have generations. */
  request(url: URL, prompt: string, id: string): Buffer;
  /** The bytes before each text, up to its opening quote. */
  readonly marker: string;
}

const http = {
  connect: (url: URL) => new HttpConnection(url),
  marker: '"text":"',
};
const webSocket = {
  connect: (url: URL) => new WebSocketConnection(new URL('/trpc', url)),
  marker: '"text":"',
};
const messages = (prompt: string) => [{ role: 'user', content: prompt }];

/** The config that is requested from our service; `targets.ts` defines it. */
export const benchConfig = 'bench';

export const doors = {
  /** Upstream's own API, for servers that pass it on unchanged. */
  messages: {
    ...http,
    request: (url, prompt) =>
      post(url, '/v1/messages', {
        model: 'claude-sonnet-5-5',
        max_tokens: 100_000,
        stream: true,
        messages: messages(prompt),
      }),
  },
  /** A relay with its own API. */
  relay: { ...http, request: (url, prompt) => post(url, '/stream', { messages: messages(prompt) }) },
  /** As `relay`, in the AI SDK's UI message stream. */
  aiSdk: {
    ...http,
    marker: '"delta":"',
    request: (url, prompt) => post(url, '/stream', { messages: messages(prompt) }),
  },
  /** The gateway takes upstream's address from the request; `url` carries it after the hash. */
  portkey: {
    ...http,
    request: (url, prompt) =>
      post(
        url,
        '/v1/messages',
        { model: 'claude-sonnet-5-5', max_tokens: 100_000, stream: true, messages: messages(prompt) },
        {
          'x-portkey-provider': 'anthropic',
          'x-portkey-custom-host': `${decodeURIComponent(url.hash.slice(1))}/v1`,
          'x-api-key': 'sk-bench',
        },
      ),
  },
  naiveSse: {
    ...http,
    request: (url, prompt) => {
      const input = encodeURIComponent(JSON.stringify({ json: { messages: messages(prompt) } }));
      return head(url, 'GET', `/stream?input=${input}`, { accept: 'text/event-stream' });
    },
  },
  naiveWebSocket: {
    ...webSocket,
    request: (_url, prompt) => subscription('stream', { messages: messages(prompt) }),
  },
  sse: {
    ...http,
    request: (url, prompt, id) =>
      post(
        url,
        '/trpc/llm.stream',
        { json: { config: benchConfig, messages: messages(prompt), generationId: id } },
        { accept: 'text/event-stream' },
      ),
  },
  webSocket: {
    ...webSocket,
    request: (_url, prompt, id) =>
      subscription('llm.stream', { config: benchConfig, messages: messages(prompt), generationId: id }),
  },
  rest: {
    ...http,
    request: (url, prompt, id) =>
      post(url, `/api/llm/process_stream/${benchConfig}`, { messages: messages(prompt) }, { 'idempotency-key': id }),
  },
} satisfies Record<string, Door>;
export type DoorName = keyof typeof doors;

function post(url: URL, path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Buffer {
  const bytes = Buffer.from(JSON.stringify(body));
  const all = { 'content-type': 'application/json', 'content-length': String(bytes.length), ...headers };
  return Buffer.concat([head(url, 'POST', path, all), bytes]);
}

function head(url: URL, method: string, path: string, headers: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: ${url.host}\r\n${lines.join('')}\r\n`);
}

function subscription(path: string, input: unknown): Buffer {
  return Buffer.from(JSON.stringify({ id: 1, method: 'subscription', params: { path, input: { json: input } } }));
}
