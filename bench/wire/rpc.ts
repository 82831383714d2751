/**
 * Calls over the IPC channel of a child process: one request, one reply, matched by id. Knows nothing of the methods. A
 * child ends when its parent ends.
 */
import type { ChildProcess } from 'node:child_process';

/** The methods of a child, each with one parameter. */
export type Commands = { readonly [method: string]: (params: never) => unknown };

export type Remote<C extends Commands> = {
  readonly [Method in keyof C]: (params: Parameters<C[Method]>[0]) => Promise<Awaited<ReturnType<C[Method]>>>;
};

interface Request {
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
}
interface Reply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** Answers the parent's calls for as long as the parent lives. */
export function serveCommands(commands: Commands): void {
  process.on('message', ({ id, method, params }: Request) => {
    const answer = async () => commands[method]!(params as never);
    void answer().then(
      (result) => process.send!({ id, result } satisfies Reply),
      (error: unknown) => process.send!({ id, error: String(error) } satisfies Reply),
    );
  });
  process.once('disconnect', () => process.exit());
}

/** Methods that call the child. They reject if the call takes longer than `timeoutMs`, or if the child ends. */
export function remoteOf<C extends Commands>(child: ChildProcess, timeoutMs: number): Remote<C> {
  let lastId = 0;
  const call = (method: string, params: unknown) =>
    new Promise((resolve, reject) => {
      const id = (lastId += 1);
      const settle = () => {
        clearTimeout(timer);
        child.off('message', hear);
        child.off('exit', exited);
      };
      const hear = (reply: Reply) => {
        if (reply.id !== id) return;
        settle();
        if (reply.error === undefined) resolve(reply.result);
        else reject(new Error(reply.error));
      };
      const exited = () => {
        settle();
        reject(new Error(`the process ended during ${method}`));
      };
      const timer = setTimeout(() => {
        settle();
        reject(new Error(`${method} took longer than ${timeoutMs / 1_000} s`));
      }, timeoutMs);
      child.on('message', hear);
      child.once('exit', exited);
      child.send({ id, method, params } satisfies Request);
    });
  return new Proxy({} as Remote<C>, {
    // If a promise resolves to this object, it must not look like a promise itself.
    get: (_target, method) => (method === 'then' ? undefined : (params: unknown) => call(String(method), params)),
  });
}
