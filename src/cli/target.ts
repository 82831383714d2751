/**
 * What answers a command: a service at a URL, or one within this process. Both look the same to a command. The modules of
 * either are loaded when it is opened.
 */
import type { CancelOutcome, LlmEvent, StreamRequest, CallAnswer } from '../protocol.ts';
import type { Host } from './host.ts';
import type { RemoteOptions } from './options.ts';

export interface Target extends AsyncDisposable {
  /** The signal closes the view; it leaves the generation to its config's `on_disconnect`. */
  stream(request: StreamRequest & { readonly generationId: string }, signal: AbortSignal): AsyncIterable<LlmEvent>;
  cancel(generationId: string): Promise<CancelOutcome>;
  /** Answers calls of tools that wait for a client. */
  resolve(generationId: string, answers: CallAnswer[]): Promise<unknown>;
}

/** @throws SettingsError, ConfigError where the service is to run within this process and its settings or configs are not valid. */
export async function openTarget(host: Host, { url, token }: RemoteOptions): Promise<Target> {
  if (url === undefined) return (await import('./local.ts')).openLocal(host);
  return (await import('./remote.ts')).openRemote(host, { url, token });
}
