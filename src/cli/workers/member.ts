/** A worker of `serve --workers`, as it sees the process that started it. */
import cluster from 'node:cluster';
import { within } from '../../flow/within.ts';
import type { Workers } from '../../telemetry/metrics.ts';
import type { Host } from '../host.ts';

/** What a worker sends to the process that started it. */
export type FromWorker =
  /** It listens, on this address. */
  | { readonly listening: string }
  /** It wants to know what all workers have counted. */
  | { readonly scrape: number }
  /** What it has counted itself. */
  | { readonly report: number; readonly counted: unknown };

/** What that process sends to a worker. */
export type ToWorker =
  /** Another worker takes its place. */
  | { readonly dismissed: true }
  /** Another worker wants to know what this one has counted. */
  | { readonly report: number }
  /** What all have counted. */
  | { readonly scraped: number; readonly reports: readonly unknown[] };

/** The variable that has the number of a worker. */
export const numberVariable = 'SERVE_WORKER';
/** How long a worker waits for what the others have counted. */
const reportsMs = 5_000;

export interface Member extends Workers, Disposable {
  /** Says that this worker listens, and on which address. */
  announce(url: string): void;
  /** Settles when another worker takes this one's place, or the process that started it is gone. */
  readonly dismissed: Promise<void>;
}

/** Undefined in a process that is no worker. Disposing it lets this process end. */
export function joinWorkers(env: Host['env']): Member | undefined {
  const { worker } = cluster;
  if (!worker) return undefined;
  const send = (message: FromWorker) => void (worker.isConnected() && worker.send(message));
  let dismiss: () => void;
  const dismissed = new Promise<void>((resolve) => (dismiss = resolve));
  let report: () => Promise<unknown> = async () => [];
  const scrapes = new Map<number, (reports: readonly unknown[]) => void>();
  let scrapesBegun = 0;
  worker.on('message', (message: ToWorker) => {
    if ('dismissed' in message) dismiss();
    else if ('scraped' in message) scrapes.get(message.scraped)?.(message.reports);
    else void report().then((counted) => send({ report: message.report, counted }));
  });
  worker.once('disconnect', () => {
    // Otherwise Node ends this process here, in the middle of its answers, if the one that started it is gone.
    worker.exitedAfterDisconnect = true;
    dismiss();
  });
  return {
    number: Number(env[numberVariable]),
    announce: (listening) => send({ listening }),
    dismissed,
    answerWith: (counts) => (report = counts),
    async reports() {
      const scrape = (scrapesBegun += 1);
      const all = new Promise<readonly unknown[]>((resolve) => scrapes.set(scrape, resolve));
      send({ scrape });
      try {
        // One that is cut off from the others can say at least what it has counted itself.
        return (await within(reportsMs, all)) ?? [await report()];
      } finally {
        scrapes.delete(scrape);
      }
    },
    [Symbol.dispose]() {
      if (worker.isConnected()) process.disconnect();
    },
  };
}
