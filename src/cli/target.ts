/**
 * What answers a command: a service elsewhere, or one put together within this process. Both look the same to a command;
 * what either needs is loaded when it is asked for.
 */
import type { CancelOutcome, LlmEvent, StreamRequest } from '../protocol.ts';
import type { Host } from './host.ts';
import type { RemoteOptions } from './options.ts';

export interface Target extends AsyncDisposable {
  /** The signal closes the view; it leaves the generation to its config's `on_disconnect`. */
  stream(request: StreamRequest & { readonly generationId: string }, signal: AbortSignal): AsyncIterable<LlmEvent>;
  cancel(generationId: string): Promise<CancelOutcome>;
}

/** @throws SettingsError, ConfigError if it is to be put together here and can't be. */
export async function openTarget(host: Host, { url, token }: RemoteOptions): Promise<Target> {
  if (url === undefined) return (await import('./local.ts')).openLocal(host);
  return (await import('./remote.ts')).openRemote(host, { url, token });
}
