/** `follow` and `cancel`: commands for generations of a service at a URL, which another command or client has started. */
import { show } from './answer.ts';
import type { Host } from './host.ts';
import { Interrupt } from './interrupt.ts';
import type { ShowOptions } from './options.ts';
import { openRemote } from './remote.ts';
import { asked } from './words.ts';

export interface ThereOptions {
  readonly url: string;
  readonly token?: string;
}

/** Ctrl-C ends the command and leaves the generation running. */
export async function follow(host: Host, generationId: string, options: ThereOptions & ShowOptions): Promise<void> {
  using interrupt = new Interrupt(host);
  await using target = openRemote(host, options);
  const answer = { view: (signal: AbortSignal) => target.follow(generationId, signal) };
  const { exitCode } = await asked(options, () => show(answer, interrupt, host, options));
  host.exitWith(exitCode);
}

export async function cancel(host: Host, generationId: string, options: ThereOptions): Promise<void> {
  await using target = openRemote(host, options);
  const outcome = await asked(options, () => target.cancel(generationId));
  await host.stdout.write(`${outcome}\n`);
}
