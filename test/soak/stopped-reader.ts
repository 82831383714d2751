/** A viewer that stops reading while upstream sends on: what the service then holds beyond its log, and what the viewer gets. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { startSimulator, type Reply } from '../../src/simulator.ts';
import type { LlmEvent } from '../../src/protocol.ts';
import { ask } from '../support/service.ts';
import { measureAtRest, startServiceProcess, type ServiceProcess } from '../support/service-process.ts';

export const stoppedReaderDoors = ['sse', 'websocket', 'rest', 'in-process'] as const;
export type StoppedReaderDoor = (typeof stoppedReaderDoors)[number];

/** What upstream sends: blocks that can't merge, or tokens of one block. */
export type Load = { readonly blocks: number; readonly bytesPerBlock: number } | { readonly tokens: number };

export interface StoppedReaderResult {
  /** What the process holds more than before, without the log's own bytes. */
  readonly bytesBeyondLog: number;
  readonly logBytes: number;
  /** In the service's sockets while nobody reads: the gate is closed over them. */
  readonly unsentBytes: number;
  /** What had come in when all had been sent upstream. */
  readonly bytesReceived: number;
  /** Whether all of it came in the end, as it was sent. */
  readonly complete: boolean;
}

/** Warmed up on each door, with an upstream of its own. */
export interface StoppedReaderBench extends AsyncDisposable {
  measure(door: StoppedReaderDoor, load: Load): Promise<StoppedReaderResult>;
}

export async function startStoppedReaderBench(): Promise<StoppedReaderBench> {
  const upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  const env = { LLM_LOG_BYTES_MAX: `${64 << 20}`, LLM_SOCKET_STALL_MS: '600000' };
  const service = await startServiceProcess({ upstreamUrl: upstream.url, env });

  async function run(door: StoppedReaderDoor, load: Load): Promise<StoppedReaderResult> {
    const before = await service.measure();
    const { answer, sha256 } = scripted(load);
    upstream.enqueue(answer);
    const reader = await readers[door](service);
    const request = await upstream.nextRequest();
    if ((await request.outcome) !== 'completed') throw new Error('the service closed upstream');
    const during = await measureAtRest(service, ({ running }) => running === 0);
    const bytesReceived = reader.bytesReceived();
    const text = await reader.readOn();
    return {
      bytesBeyondLog: during.bytes - before.bytes - during.logsBytes + before.logsBytes,
      logBytes: during.logsBytes - before.logsBytes,
      unsentBytes: during.unsentBytes,
      bytesReceived,
      complete: createHash('sha256').update(text).digest('hex') === sha256,
    };
  }
  return {
    async measure(door, load) {
      // What is compiled, pooled and cached at first isn't the viewer's.
      for (let round = 0; round < 3; round += 1) await run(door, { tokens: 20_000 });
      return run(door, load);
    },
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

function scripted(load: Load): { answer: Reply; sha256: string } {
  const hash = createHash('sha256');
  if ('tokens' in load) {
    // Long ones, lest the sockets of the machine take them all.
    const pieces = Array.from({ length: 1_000 }, (_, index) => `a token of thirty bytes: ${index % 10} `.padEnd(30));
    for (let sent = 0; sent < load.tokens; sent += pieces.length) hash.update(pieces.join(''));
    const text = (function* () {
      for (let sent = 0; sent < load.tokens; sent += pieces.length) yield* pieces;
    })();
    return { answer: { kind: 'text', text, stopReason: 'end_turn' }, sha256: hash.digest('hex') };
  }
  const blocks = Array.from({ length: load.blocks }, (_, index) => {
    const text = `${index} `.padEnd(load.bytesPerBlock, 'x');
    hash.update(text);
    return { type: 'text', text: [text] };
  });
  return { answer: { kind: 'blocks', blocks, stopReason: 'end_turn' }, sha256: hash.digest('hex') };
}

// ------------------------------------------------------------------------------------------------------- the readers

/** One that has stopped. */
interface Reader {
  bytesReceived(): number;
  /** The text of all that there is. */
  readOn(): Promise<string>;
}

const readers: Readonly<Record<StoppedReaderDoor, (service: ServiceProcess) => Promise<Reader>>> = {
  sse: ({ url }) =>
    stopHttp(`${url}/trpc/llm.stream`, { json: ask('hi') }, (data) => (data as { json: LlmEvent }).json),
  rest: ({ url }) => stopHttp(`${url}/api/llm/process_stream/default`, ask('hi'), (data) => data as LlmEvent),
  websocket: ({ url }) => stopWebSocket(url),
  async 'in-process'(service) {
    await service.hold(ask('hi'));
    return { bytesReceived: () => 0, readOn: () => service.readOn() };
  },
};

async function stopHttp(url: string, body: object, eventOf: (data: unknown) => LlmEvent): Promise<Reader> {
  const request = httpRequest(url, {
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
  });
  request.end(JSON.stringify(body));
  const [message] = (await once(request, 'response')) as [IncomingMessage];
  message.pause();
  return {
    bytesReceived: () => message.socket.bytesRead,
    async readOn() {
      const chunks: Buffer[] = [];
      for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
      const lines = Buffer.concat(chunks).toString().split('\n');
      const datas = lines
        .filter((line) => line.startsWith('data: {'))
        .map((line) => JSON.parse(line.slice(6)) as object);
      // What tRPC says of the connection is no event.
      return textOf(datas.filter((data) => !('reconnectAfterInactivityMs' in data)).map(eventOf));
    },
  };
}

async function stopWebSocket(url: string): Promise<Reader> {
  const webSocket = new WebSocket(`${url.replace('http', 'ws')}/trpc`);
  await once(webSocket, 'open');
  const { _socket: socket } = webSocket as unknown as { _socket: { bytesRead: number } };
  webSocket.send(
    JSON.stringify({ id: 1, method: 'subscription', params: { path: 'llm.stream', input: { json: ask('hi') } } }),
  );
  await once(webSocket, 'message');
  webSocket.pause();
  return {
    bytesReceived: () => socket.bytesRead,
    async readOn() {
      const events: LlmEvent[] = [];
      const over = new Promise<void>((resolve) => {
        webSocket.on('message', (data: Buffer) => {
          const message = data.toString();
          if (message === 'PING') return webSocket.send('PONG');
          const { result } = JSON.parse(message) as {
            result: { type: string; data?: { json: { data: LlmEvent } } };
          };
          if (result.data) events.push(result.data.json.data);
          if (result.type === 'stopped') resolve();
        });
      });
      webSocket.resume();
      await over;
      webSocket.close();
      await once(webSocket, 'close');
      return textOf(events);
    },
  };
}

function textOf(events: readonly LlmEvent[]): string {
  return events.map((event) => (event.type === 'text' ? event.text : '')).join('');
}
