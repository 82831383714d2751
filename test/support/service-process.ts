/** A service in a process of its own (service-child.ts), and the functions to talk to it. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { StreamRequest } from '../../src/protocol.ts';
import type { RedisTiming } from '../../src/stream-log/redis/timing.ts';
import { compiledProject } from './compiled.ts';
import { plainConfig } from './service.ts';

export type Order =
  | { readonly do: 'measure' }
  | { readonly do: 'effort' }
  | { readonly do: 'calibrate' }
  | { readonly do: 'stay-busy'; readonly ms: number }
  | { readonly do: 'hold'; readonly request: StreamRequest }
  | { readonly do: 'read-on' }
  | { readonly do: 'start-and-abort'; readonly request: StreamRequest; readonly cycles: number };

/** What the process holds after a garbage collection. */
export interface Held {
  /** The heap, and the memory outside the heap that belongs to it. */
  readonly bytes: number;
  /** The bytes in all logs, as the logs count them. */
  readonly logsBytes: number;
  /** The bytes on the accounts of callers, as the service counts them. */
  readonly callersBytes: number;
  readonly running: number;
  readonly viewers: number;
  readonly sockets: number;
  /** The unsent bytes in the sockets. */
  readonly unsentBytes: number;
  readonly timers: number;
}

/** What the process has spent since the last question. */
export interface Effort {
  /** CPU time of the longest turn of its event loop, accurate to some milliseconds. */
  readonly longestTurnMs: number;
  readonly cpuMs: number;
}

export interface ServiceProcess extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** Resolves when the process has ended, with its exit code or signal and the reason. */
  readonly ended: Promise<string>;
  /** The last megabyte of its stdout. */
  readonly log: string;
  measure(): Promise<Held>;
  effort(): Promise<Effort>;
  /** How many milliseconds of CPU it needs for a fixed piece of work. */
  calibrate(): Promise<number>;
  /** Blocks its event loop. */
  stayBusy(ms: number): Promise<void>;
  /** Opens a viewer within the process, which takes one event and then stops reading. */
  hold(request: StreamRequest): Promise<void>;
  /** Lets that viewer read to the end, and returns its text. */
  readOn(): Promise<string>;
  startAndAbort(request: StreamRequest, cycles: number): Promise<void>;
  /** `kill -9`; resolves when the process is gone. */
  kill(): Promise<void>;
}

export interface ServiceProcessOptions {
  readonly upstreamUrl: string;
  readonly configs?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** The clockwork of its log on Redis. */
  readonly redisTiming?: Partial<RedisTiming>;
  /** The bound of its heap; Node's default if absent. */
  readonly heapMiB?: number;
}

const logCharsMax = 1 << 20;

export async function startServiceProcess(options: ServiceProcessOptions): Promise<ServiceProcess> {
  const { upstreamUrl, configs = { default: plainConfig }, env = {}, redisTiming = {}, heapMiB } = options;
  const child = fork(join(await compiledProject(), 'test/support/service-child.js'), {
    execArgv: [
      ...['--expose-gc', '--unhandled-rejections=strict'],
      ...(heapMiB === undefined ? [] : [`--max-old-space-size=${heapMiB}`]),
    ],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
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
      TEST_REDIS_TIMING: JSON.stringify(redisTiming),
    },
  });
  const stdout = lastOf(child.stdout!);
  const stderr = lastOf(child.stderr!);
  const ended = once(child, 'close').then(
    ([code, signal]) => `${code === null ? signal : `exit code ${code}`}${fatalLineOf(stderr())}`,
  );
  const answer = async () => {
    const [message] = (await Promise.race([once(child, 'message'), ended.then(gone)])) as [unknown];
    return message;
  };
  // One order at a time, because an answer doesn't say which order it belongs to.
  let answered: Promise<unknown> = answer();
  const order = (given: Order) => {
    const next = answered.then(() => {
      const coming = answer();
      // The process may end in this very moment; then no answer arrives.
      child.send(given, () => {});
      return coming;
    });
    answered = next;
    return next;
  };
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  return {
    url: (await answered) as string,
    pid: child.pid!,
    ended,
    get log() {
      return stdout();
    },
    effort: async () => (await order({ do: 'effort' })) as Effort,
    calibrate: async () => (await order({ do: 'calibrate' })) as number,
    measure: async () => (await order({ do: 'measure' })) as Held,
    stayBusy: async (ms) => void (await order({ do: 'stay-busy', ms })),
    hold: async (request) => void (await order({ do: 'hold', request })),
    readOn: async () => (await order({ do: 'read-on' })) as string,
    startAndAbort: async (request, cycles) => void (await order({ do: 'start-and-abort', request, cycles })),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

function gone(how: string): never {
  throw new Error(`the process of the service has ended: ${how}`);
}

/** Why it died, in the words of Node or V8. */
function fatalLineOf(stderr: string): string {
  const line = /^.*(?:FATAL ERROR|Error\b).*$/m.exec(stderr)?.[0] ?? stderr.trimEnd().split('\n').at(-1);
  return line ? `: ${line}` : '';
}

function lastOf(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (more: string) => (text = (text + more).slice(-logCharsMax)));
  return () => text;
}

/**
 * What the process holds once it has become idle. It is measured again then: the first measurement at idle may include
 * what became garbage only after its garbage collection.
 */
export async function measureAtRest(service: ServiceProcess, atRest: (held: Held) => boolean): Promise<Held> {
  while (!atRest(await service.measure()));
  return service.measure();
}
