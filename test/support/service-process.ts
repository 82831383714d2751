/** A service in a process of its own: service-child.ts, and how to speak with it. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { StreamRequest } from '../../src/protocol.ts';
import { plainConfig } from './service.ts';

export type Order =
  | { readonly do: 'measure' }
  | { readonly do: 'stay-busy'; readonly ms: number }
  | { readonly do: 'hold'; readonly request: StreamRequest }
  | { readonly do: 'read-on' }
  | { readonly do: 'start-and-abort'; readonly request: StreamRequest; readonly cycles: number };

/** What the process holds, after its garbage is gone. */
export interface Held {
  /** Heap and what belongs to it outside. */
  readonly bytes: number;
  /** In all logs, as they count themselves. */
  readonly logsBytes: number;
  readonly running: number;
  readonly viewers: number;
  readonly sockets: number;
  /** In the sockets, on their way out. */
  readonly unsentBytes: number;
  readonly timers: number;
}

export interface ServiceProcess extends AsyncDisposable {
  readonly url: string;
  measure(): Promise<Held>;
  /** Blocks its event loop. */
  stayBusy(ms: number): Promise<void>;
  /** Opens a viewer within the process, which takes one event and then no more. */
  hold(request: StreamRequest): Promise<void>;
  /** Has that one read to the end; gives its text. */
  readOn(): Promise<string>;
  startAndAbort(request: StreamRequest, cycles: number): Promise<void>;
  /** `kill -9`; settles when it is gone. */
  kill(): Promise<void>;
}

export interface ServiceProcessOptions {
  readonly upstreamUrl: string;
  readonly configs?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
}

export async function startServiceProcess(options: ServiceProcessOptions): Promise<ServiceProcess> {
  const { upstreamUrl, configs = { default: plainConfig }, env = {} } = options;
  const child = fork(fileURLToPath(new URL('service-child.ts', import.meta.url)), {
    execArgv: ['--import', 'tsx', '--expose-gc'],
    env: {
      PATH: process.env['PATH'],
      PORT: '0',
      LOG_LEVEL: 'silent',
      LLM_DRAIN_MS: '0',
      LLM_RECONNECT_MS: '1',
      ANTHROPIC_BASE_URL: upstreamUrl,
      ANTHROPIC_API_KEY: 'sk-test',
      ...env,
      TEST_CONFIGS: JSON.stringify(configs),
    },
  });
  const ended = once(child, 'exit');
  const answer = async () => {
    const [message] = (await Promise.race([once(child, 'message'), ended.then(gone)])) as [unknown];
    return message;
  };
  const order = async (given: Order) => {
    const answered = answer();
    child.send(given);
    return answered;
  };
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  return {
    url: (await answer()) as string,
    measure: async () => (await order({ do: 'measure' })) as Held,
    stayBusy: async (ms) => void (await order({ do: 'stay-busy', ms })),
    hold: async (request) => void (await order({ do: 'hold', request })),
    readOn: async () => (await order({ do: 'read-on' })) as string,
    startAndAbort: async (request, cycles) => void (await order({ do: 'start-and-abort', request, cycles })),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

function gone(): never {
  throw new Error('the process of the service has ended');
}

/**
 * What the process holds once it has come to rest. Measured anew then: what is found at rest in one look may have come
 * to it after that look's garbage collection.
 */
export async function measureAtRest(service: ServiceProcess, atRest: (held: Held) => boolean): Promise<Held> {
  while (!atRest(await service.measure()));
  return service.measure();
}
