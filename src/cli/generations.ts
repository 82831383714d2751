/** `follow` and `cancel`: generations of a service elsewhere, whoever asked for them. */
import { show } from './answer.ts';
import type { Host } from './host.ts';
import { Interrupt } from './interrupt.ts';
import type { ShowOptions } from './options.ts';
import { openRemote } from './remote.ts';

export interface ThereOptions {
  readonly url: string;
  readonly token?: string;
}

/** Leaves at Ctrl-C; the generation goes on. */
export async function follow(host: Host, generationId: string, options: ThereOptions & ShowOptions): Promise<void> {
  using interrupt = new Interrupt(host);
  await using target = openRemote(host, options);
  const answer = { view: (signal: AbortSignal) => target.follow(generationId, signal) };
  host.exitWith((await show(answer, interrupt, host, options)).exitCode);
}

export async function cancel(host: Host, generationId: string, options: ThereOptions): Promise<void> {
  await using target = openRemote(host, options);
  await host.stdout.write(`${await target.cancel(generationId)}\n`);
}
