/**
 * The command line as a real process, started with its own environment, and observed by
 * its output. Every process that a test has started must have ended when the test ends.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { afterAll, beforeAll } from 'vitest';
import { compiledProject } from './compiled.ts';

export interface Ended {
  /** Null if a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcessByStdio<Writable | null, Readable, Readable>;
  readonly ended: Promise<Ended>;
  /** Resolves to the match once the output matches the pattern. Rejects if the process ends first. */
  until(stream: 'stdout' | 'stderr', pattern: RegExp): Promise<RegExpExecArray>;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** The piped input; absent: /dev/null. */
  readonly stdin?: string;
  /** Leaves stdin to the test as an open, silent pipe: `child.stdin`. */
  readonly openStdin?: boolean;
  /** Runs on a terminal of its own, whose output becomes stdout. Killing the child with SIGKILL closes the terminal. */
  readonly terminal?: boolean;
}

export interface CommandLine {
  /** Its working directory and its home: empty at first. */
  readonly cwd: string;
  start(args: readonly string[], options?: RunOptions): Running;
  /** The same program, started by a script of package.json or by `npx llm-service`: `npm`, with these arguments. */
  startNpm(args: readonly string[], options?: RunOptions): Running;
  /** Runs until the process ends. */
  run(args: readonly string[], options?: RunOptions): Promise<Ended>;
}

/** The command line for the tests of a file. Call this at the top of the file. */
export function commandLine(): CommandLine {
  let cwd = '';
  let program = '';

  beforeAll(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'cli-'));
    program = await compiledProject();
  });
  afterAll(async () => {
    if (cwd !== '') await rm(cwd, { recursive: true });
  });

  function start(
    args: readonly string[],
    { env = {}, stdin, openStdin = false, terminal = false }: RunOptions = {},
  ): Running {
    const command = [process.execPath, join(program, 'dist', 'cli.js'), ...args];
    const quoted = command.map((word) => `'${word}'`).join(' ');
    const [file = '', ...words] = terminal ? ['script', '-qfec', `exec ${quoted}`, '/dev/null'] : command;
    const child = spawn(file, words, {
      cwd,
      env: { HOME: cwd, ...env },
      stdio: [stdin === undefined && !openStdin ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    }) as Running['child'];
    child.stdin?.on('error', () => {});
    if (!openStdin) child.stdin?.end(stdin);
    return watched(child);
  }

  function startNpm(args: readonly string[], { env = {} }: RunOptions = {}): Running {
    const child = spawn('npm', args, {
      cwd: program,
      env: { PATH: process.env['PATH'], HOME: cwd, npm_config_update_notifier: 'false', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return watched(child);
  }

  function watched(child: Running['child']): Running {
    const printed = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => (printed[stream] += text));
    }
    const ended = new Promise<Ended>((resolve, reject) => {
      child.once('error', reject).once('close', (code) => resolve({ code, ...printed }));
    });
    return {
      child,
      ended,
      until: (stream, pattern) =>
        new Promise((resolve, reject) => {
          const look = () => {
            const match = pattern.exec(printed[stream]);
            if (match) resolve(match);
          };
          child[stream].on('data', look);
          look();
          const unmet = ({ code }: Ended) => reject(new Error(`ended (${code}) without it: ${printed.stderr}`));
          ended.then(unmet, reject);
        }),
    };
  }
  return {
    get cwd() {
      return cwd;
    },
    start,
    startNpm,
    run: (args, options) => start(args, options).ended,
  };
}
