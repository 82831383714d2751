/** A worker of `serve --workers`, as it sees the process that started it. */
import cluster from 'node:cluster';

/** What a worker says once it listens. */
export interface Announcement {
  readonly listening: string;
}

/** The one message that the process which started a worker sends it: another takes its place. */
export const dismissal = 'dismissed';

export interface Member extends Disposable {
  /** Says that this worker listens, and on which address. */
  announce(url: string): void;
  /** Settles when another worker takes this one's place, or the process that started it is gone. */
  readonly dismissed: Promise<void>;
}

/** Undefined in a process that is no worker. Disposing it lets this process end. */
export function joinWorkers(): Member | undefined {
  const { worker } = cluster;
  if (!worker) return undefined;
  return {
    announce: (listening) => void worker.send({ listening } satisfies Announcement),
    dismissed: new Promise((resolve) => {
      worker.on('message', (message: unknown) => message === dismissal && resolve());
      worker.once('disconnect', () => {
        // Otherwise Node ends this process here, in the middle of its answers, if the one that started it is gone.
        worker.exitedAfterDisconnect = true;
        resolve();
      });
    }),
    [Symbol.dispose]() {
      if (worker.isConnected()) process.disconnect();
    },
  };
}
