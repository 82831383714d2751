/**
 * The configs that are served now: loaded once, and anew when a file that they come from has changed. What can't be
 * served is refused with its reasons, and the old configs stay. A reload swaps the snapshot and touches no Config, so
 * whoever holds one keeps it.
 *
 * Changes are found by looking at the files, not by the system's notices: an editor replaces a file by rename, a
 * Kubernetes ConfigMap swaps a symlink above it, and from bind mounts and network drives no notice comes at all.
 */
import { statSync, type BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { loadConfigs, type LoadConfigsOptions } from './config-file.ts';
import { ConfigError, type ConfigSnapshot } from './configs.ts';
import type { ConfigChanges, Telemetry } from '../telemetry/telemetry.ts';

export interface OpenConfigsOptions extends Omit<LoadConfigsOptions, 'onFile'> {
  readonly telemetry: Pick<Telemetry, 'configsReloaded' | 'configsRefused' | 'internalError'>;
}

export interface LiveConfigs extends AsyncDisposable {
  /** The configs as they stand now. */
  snapshot(): ConfigSnapshot;
  /**
   * Reads all files again, after the reload that is under way; those who ask meanwhile share the next one. Never rejects:
   * what it finds is told to telemetry.
   */
  reload(): Promise<ReloadOutcome>;
  /** From now on reloads when a file has changed. To be called once, if at all. */
  watch(): void;
  /** Ends the watching, and settles when no reload is under way. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** `unchanged`: the files say what they said before, in other words perhaps. */
export type ReloadOutcome = 'reloaded' | 'unchanged' | 'refused';

/** Between two looks. A change counts once two looks agree on it, so that hardly a half-written file is ever read. */
const lookMs = 250;

/**
 * Loads the configs. The caller disposes them, if they are watched.
 *
 * @throws ConfigError if they are not valid to begin with.
 */
export async function openConfigs({ telemetry, ...source }: OpenConfigsOptions): Promise<LiveConfigs> {
  const ended = new AbortController();
  const loader = new Loader(source);
  let snapshot = await loader.load();
  let underWay: Promise<unknown> = Promise.resolve();
  let next: Promise<ReloadOutcome> | undefined;
  let watching: Promise<void> | undefined;

  async function reloadNow(): Promise<ReloadOutcome> {
    try {
      const before = snapshot;
      snapshot = await loader.load();
      const changes = changesBetween(before, snapshot);
      if (changes.added.length + changes.changed.length + changes.removed.length === 0) return 'unchanged';
      telemetry.configsReloaded(source.file, changes, snapshot.warnings);
      return 'reloaded';
    } catch (error) {
      if (error instanceof ConfigError) telemetry.configsRefused(source.file, error.problems);
      else telemetry.internalError('reload', error);
      return 'refused';
    }
  }
  function reload(): Promise<ReloadOutcome> {
    next ??= underWay.then(() => {
      next = undefined;
      return reloadNow();
    });
    underWay = next;
    return next;
  }

  return {
    snapshot: () => snapshot,
    reload,
    watch() {
      watching ??= watchFiles(loader, reload, ended.signal);
    },
    async [Symbol.asyncDispose]() {
      ended.abort();
      await watching;
      await underWay;
    },
  };
}

/** Never rejects. */
async function watchFiles(loader: Loader, reload: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
  let last = loader.looks;
  for (;;) {
    await delay(lookMs, undefined, { signal, ref: false }).catch(() => {});
    if (signal.aborted) return;
    const now = await lookAgain(loader.looks);
    const settled = isSame(now, last);
    last = now;
    if (settled && !isSame(now, loader.looks)) await reload();
  }
}

/** What each file looked like, by path. */
type Looks = ReadonlyMap<string, string>;

/** Loads, and remembers what the files looked like that it read, so that no later change to them is missed. */
class Loader {
  /** As the files were no later than they were read. */
  looks: Looks = new Map();
  readonly #source: LoadConfigsOptions;
  #goodFiles: readonly string[] = [];

  constructor(source: LoadConfigsOptions) {
    this.#source = source;
  }

  async load(): Promise<ConfigSnapshot> {
    // Those of the last good load too: a load that fails early doesn't come to all of them, and any may mend it.
    const looks = new Map(this.#goodFiles.map((path) => [path, look(path)]));
    const files = new Set<string>();
    const onFile = (path: string) => {
      files.add(path);
      if (!looks.has(path)) looks.set(path, look(path));
    };
    try {
      const snapshot = await loadConfigs({ ...this.#source, onFile });
      this.#goodFiles = [...files];
      for (const path of looks.keys()) if (!files.has(path)) looks.delete(path);
      return snapshot;
    } finally {
      this.looks = looks;
    }
  }
}

function look(path: string): string {
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

function changesBetween(before: ConfigSnapshot, after: ConfigSnapshot): ConfigChanges {
  return {
    added: after.names.filter((name) => !before.get(name)),
    changed: after.names.filter((name) => before.get(name) && before.get(name)!.hash !== after.get(name)!.hash),
    removed: before.names.filter((name) => !after.get(name)),
  };
}
