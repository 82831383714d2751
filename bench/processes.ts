/**
 * The processes of a benchmark: each on the core it was given, found by the line that it prints, ended by its owner. The
 * server that is measured has a core to itself; what loads it shares the others.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { remoteOf, type Commands, type Remote } from './wire/rpc.ts';

const canPin = availableParallelism() > 1 && spawnSync('taskset', ['-c', '0', 'true']).status === 0;

/** Which core each part runs on; undefined where none can be chosen. Upstream and client share one if there are but two. */
export const cores = canPin
  ? { server: availableParallelism() - 1, upstream: 0, client: availableParallelism() > 2 ? 1 : 0 }
  : undefined;

/** Longer than any run of a workload takes; a call that takes longer has failed. */
const callMs = 180_000;
const startMs = 30_000;

export interface Launch {
  /** What node is to run: a compiled file of the benchmark's, or any path. */
  readonly script: string;
  readonly args?: readonly string[];
  readonly nodeArgs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly core?: number | undefined;
  /** What it prints once it listens, the URL in the first group. */
  readonly ready?: RegExp;
}

export interface Running<C extends Commands> extends AsyncDisposable {
  readonly pid: number;
  readonly remote: Remote<C>;
  /** Where it listens; empty if it doesn't. */
  readonly url: string;
  /** Asks it to end, and waits until it has. */
  stop(): Promise<void>;
}

/** The path of a compiled file of the benchmark's. */
export function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** Settles once it listens. Disposing it kills it. @throws Error with what it printed if it ends before that */
export async function launch<C extends Commands>(options: Launch): Promise<Running<C>> {
  const command = [process.execPath, ...(options.nodeArgs ?? []), options.script, ...(options.args ?? [])];
  const pinned = cores && options.core !== undefined ? ['taskset', '-c', String(options.core), ...command] : command;
  const child = spawn(pinned[0]!, pinned.slice(1), {
    env: { ...environment(), NODE_ENV: 'production', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    serialization: 'advanced',
  });
  // A remote listens for each call that is under way.
  child.setMaxListeners(100);
  const exited = once(child, 'exit');
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  try {
    const url = options.ready ? await findUrl(child, options.ready) : '';
    return {
      pid: child.pid!,
      url,
      remote: remoteOf<C>(child, callMs),
      async stop() {
        child.kill('SIGTERM');
        await exited;
      },
      [Symbol.asyncDispose]: kill,
    };
  } catch (error) {
    await kill();
    throw error;
  }
}

/** The environment without settings that would change what is measured. */
function environment(): NodeJS.ProcessEnv {
  const foreign = /^(?:LLM_|ANTHROPIC_|LOG_LEVEL$|PORT$|HOST$|REDIS_URL$|NODE_OPTIONS$|.*_proxy$)/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

/** Reads on after that, so that a server which logs is not held up. */
async function findUrl(child: ChildProcess, ready: RegExp): Promise<string> {
  let printed = '';
  let found = (_url: string) => {};
  const url = new Promise<string>((resolve) => (found = resolve));
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (bytes: Buffer) => {
      // Only the beginning: a server may log without end.
      if (printed.length < 10_000) printed += bytes.toString();
      const match = ready.exec(printed);
      if (match) found(match[1]!);
    });
  }
  let timer: NodeJS.Timeout | undefined;
  const failed = new Promise<never>((_resolve, reject) => {
    const fail = (why: string) => reject(new Error(`${child.spawnargs.join(' ')} ${why}:\n${printed}`));
    child.once('exit', () => fail('ended'));
    child.once('error', (error) => fail(error.message));
    timer = setTimeout(() => fail(`did not listen within ${startMs / 1_000} s`), startMs);
  });
  try {
    return await Promise.race([url, failed]);
  } finally {
    clearTimeout(timer);
  }
}
