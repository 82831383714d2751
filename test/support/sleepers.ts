/** Clients that stop reading, one for each door. */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { LlmEvent, StreamRequest } from '../../src/protocol.ts';
import { openSocket, subscription } from './raw-websocket.ts';

/** More bytes than the operating system buffers for a connection that nobody reads. */
export const tooMuch = Array.from({ length: 1_200 }, (_, number) => ({
  type: 'test_data',
  number,
  data: 'x'.repeat(8_192),
}));

/** A client that reads nothing until the test says so, and then everything. */
export interface Sleeper extends Disposable {
  read(): Promise<readonly LlmEvent[]>;
}

/** One for each door, by its name. Over HTTP `fall` resolves once the response has begun. */
export const sleepers: readonly {
  readonly name: string;
  fall(url: string, request: StreamRequest): Promise<Sleeper>;
}[] = [
  {
    name: 'sse',
    fall: (url, request) =>
      sleepOverHttp(`${url}/trpc/llm.stream`, { json: request }, {}, (data) =>
        'json' in data ? (data['json'] as LlmEvent) : undefined,
      ),
  },
  {
    name: 'websocket',
    async fall(url, request) {
      const socket = await openSocket(url);
      socket.tcp.pause();
      socket.send(subscription(1, 'llm.stream', request));
      return {
        async read() {
          socket.tcp.resume();
          const events: LlmEvent[] = [];
          for (;;) {
            const { result } = await socket.next();
            if (result?.type === 'stopped') return events;
            if (result?.type === 'data') events.push((result.data as { json: { data: LlmEvent } }).json.data);
          }
        },
        [Symbol.dispose]: () => socket[Symbol.dispose](),
      };
    },
  },
  {
    name: 'rest',
    fall: (url, { config, generationId, ...body }) =>
      sleepOverHttp(
        `${url}/api/llm/process_stream/${config}`,
        body,
        { 'idempotency-key': generationId ?? crypto.randomUUID() },
        (data) => data as unknown as LlmEvent,
      ),
  },
];

async function sleepOverHttp(
  url: string,
  body: unknown,
  headers: Readonly<Record<string, string>>,
  eventOf: (data: Record<string, unknown>) => LlmEvent | undefined,
): Promise<Sleeper> {
  const request = httpRequest(url, {
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/json', ...headers },
  });
  request.on('error', () => {});
  request.end(JSON.stringify(body));
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return {
    async read() {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      const data = [...text.matchAll(/^data: (.+)$/gm)].map(([, json]) => JSON.parse(json!) as Record<string, unknown>);
      return data.map(eventOf).filter((event) => event !== undefined);
    },
    [Symbol.dispose]: () => void request.destroy(),
  };
}
