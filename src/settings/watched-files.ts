/**
 * Notices that files have changed, for whoever reads them again. Knows nothing of what is in them.
 *
 * It compares the files with their former state four times a second, and does not rely on notices of the file system: an
 * editor replaces a file by rename, a Kubernetes ConfigMap swaps a symlink above it, and bind mounts and network drives send
 * no notice at all.
 */
import { statSync, type BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** Time between two looks at the files. A change counts once two looks see the same, so that a half-written file is rarely read. */
const lookMs = 250;

/** The state of each file, by path: its identity, size and times. */
export type Looks = ReadonlyMap<string, string>;

/**
 * Calls `changed` whenever a file is no longer in the state that `looks` says, until the signal aborts. Never rejects.
 *
 * @param looks The state of each file at the moment before it was last read.
 * @param changed Reads the files again. Must not reject.
 */
export async function watchFiles(
  looks: () => Looks,
  changed: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  let last = looks();
  for (;;) {
    await delay(lookMs, undefined, { signal, ref: false }).catch(() => {});
    if (signal.aborted) return;
    const now = await lookAgain(looks());
    const atRest = isSame(now, last);
    last = now;
    if (atRest && !isSame(now, looks())) await changed();
  }
}

/** The state of a file now. */
export function look(path: string): string {
  try {
    return described(statSync(path, { bigint: true }));
  } catch {
    return described(undefined);
  }
}

async function lookAgain(looks: Looks): Promise<Looks> {
  const looked = [...looks.keys()].map(async (path) => {
    const stats = await stat(path, { bigint: true }).catch(() => undefined);
    return [path, described(stats)] as const;
  });
  return new Map(await Promise.all(looked));
}

function described(stats: BigIntStats | undefined): string {
  return stats ? [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(' ') : 'none';
}

function isSame(a: Looks, b: Looks): boolean {
  return a.size === b.size && [...a].every(([path, looked]) => b.get(path) === looked);
}
