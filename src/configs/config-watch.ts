/**
 * Keeps the configs that are served: loads them once, and again when one of their files has changed. Configs that are not
 * valid are refused, the reasons are logged, and the old configs stay. A reload replaces the snapshot and changes no Config,
 * so that a running generation keeps its own.
 */
import { loadConfigs, type LoadConfigsOptions } from './config-file.ts';
import { ConfigError, type ConfigSnapshot } from './configs.ts';
import { look, watchFiles, type Looks } from '../settings/watched-files.ts';
import type { ConfigChanges, Telemetry } from '../telemetry/telemetry.ts';

export interface OpenConfigsOptions extends Omit<LoadConfigsOptions, 'onFile'> {
  readonly telemetry: Pick<Telemetry, 'configsReloaded' | 'configsRefused' | 'reloadFailed'>;
}

export interface LiveConfigs extends AsyncDisposable {
  /** The configs that are served now. */
  snapshot(): ConfigSnapshot;
  /**
   * Reads all files again, once a reload that is running has finished; all calls until then share one reload. Never rejects:
   * telemetry logs the outcome.
   */
  reload(): Promise<ReloadOutcome>;
  /** Reloads whenever a file has changed, from now until disposal. A second call does nothing. */
  watch(): void;
  /** Stops watching. Settles when no reload is running. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** `unchanged`: the files hold the same configs as before, though perhaps in other words. */
export type ReloadOutcome = 'reloaded' | 'unchanged' | 'refused';

/**
 * Loads the configs. A caller that watches them disposes them.
 *
 * @throws ConfigError if the configs are not valid at this first load.
 */
export async function openConfigs({ telemetry, ...source }: OpenConfigsOptions): Promise<LiveConfigs> {
  const closed = new AbortController();
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
      else telemetry.reloadFailed(error);
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
      watching ??= watchFiles(() => loader.looks, reload, closed.signal);
    },
    async [Symbol.asyncDispose]() {
      closed.abort();
      await watching;
      await underWay;
    },
  };
}

/** Loads, and keeps the state of each file that it read, so that a change after the load is noticed. */
class Loader {
  /** The state of each file at the moment before it was read. */
  looks: Looks = new Map();
  readonly #source: LoadConfigsOptions;
  #goodFiles: readonly string[] = [];

  constructor(source: LoadConfigsOptions) {
    this.#source = source;
  }

  async load(): Promise<ConfigSnapshot> {
    // The files of the last good load are watched too: a load that fails early doesn't reach all of them, and a change of any
    // may mend it.
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

function changesBetween(before: ConfigSnapshot, after: ConfigSnapshot): ConfigChanges {
  return {
    added: after.names.filter((name) => !before.get(name)),
    changed: after.names.filter((name) => before.get(name) && before.get(name)!.hash !== after.get(name)!.hash),
    removed: before.names.filter((name) => !after.get(name)),
  };
}
