/**
 * The processes of a benchmark. Each runs on the core that it was given, is ready when it prints its line, and is ended
 * by its owner. The server under test has a core to itself; the load shares the others.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { remoteOf, type Commands, type Remote } from './wire/rpc.ts';

const canPin = availableParallelism() > 1 && spawnSync('taskset', ['-c', '0', 'true']).status === 0;

/**
 * Which core each part runs on; undefined if the cores can't be chosen. On a machine with two cores, upstream and
 * client share one.
 */
export const cores = canPin
  ? { server: availableParallelism() - 1, upstream: 0, client: availableParallelism() > 2 ? 1 : 0 }
  : undefined;

/** Longer than any run of a workload. A call that takes longer has failed. */
const callMs = 180_000;
const startMs = 30_000;

export interface Launch {
  /** The script for node: a compiled file of the benchmark, or any path. */
  readonly script: string;
  readonly args?: readonly string[];
  readonly nodeArgs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly core?: number | undefined;
  /** The folder that it is started in. Unless given: this process's. */
  readonly cwd?: string;
  /** The line that it prints once it listens. The first group is the URL. */
  readonly ready?: RegExp;
}

export interface Running<C extends Commands> extends AsyncDisposable {
  readonly pid: number;
  readonly remote: Remote<C>;
  /** Where it listens; empty if it doesn't. */
  readonly url: string;
  /** Asks it to end, and waits until it has ended. */
  stop(): Promise<void>;
}

/** The path of a compiled file of the benchmark. */
export function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** Resolves once it listens. Disposing it kills it. @throws Error with its output if it ends before that */
export async function launch<C extends Commands>(options: Launch): Promise<Running<C>> {
  const command = [process.execPath, ...(options.nodeArgs ?? []), options.script, ...(options.args ?? [])];
  const pinned = cores && options.core !== undefined ? ['taskset', '-c', String(options.core), ...command] : command;
  const child = spawn(pinned[0]!, pinned.slice(1), {
    env: { ...environment(), NODE_ENV: 'production', ...options.env },
    cwd: options.cwd,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    serialization: 'advanced',
  });
  // The IPC remote adds one listener for each call in progress.
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

/** The environment without settings that would change the measurement. */
function environment(): NodeJS.ProcessEnv {
  const foreign = /^(?:LLM_|ANTHROPIC_|LOG_LEVEL$|PORT$|HOST$|REDIS_URL$|NODE_OPTIONS$|.*_proxy$)/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

/** Goes on reading afterwards, because a full pipe would block a server that logs. */
async function findUrl(child: ChildProcess, ready: RegExp): Promise<string> {
  let printed = '';
  let found = (_url: string) => {};
  const url = new Promise<string>((resolve) => (found = resolve));
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (bytes: Buffer) => {
      // Keeps only the beginning: a server may log without end.
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
