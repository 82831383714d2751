/** `serve`: the service as a process, from its settings to its last generation. */
import { startService } from '../service.ts';
import { readSettings } from '../settings/settings.ts';
import type { Host } from './host.ts';
import { listening } from './listen.ts';
import { aborted, Interrupt } from './interrupt.ts';

/** Settles once the service was asked to end and has drained. */
export async function serve(host: Host): Promise<void> {
  const settings = readSettings(host.env);
  const starting = startService({ settings, env: host.env, cwd: host.cwd, watch: true });
  // A start that fails is reported below.
  const reload = () => void starting.then((service) => service.reload()).catch(() => {});
  using interrupt = new Interrupt(host, { reload });
  await using service = await listening(starting, { ...settings, portPrefix: 'PORT=' });
  host.note(`llm-service listens on ${service.url}`);
  if (settings.simulate) {
    host.note('No key is set (ANTHROPIC_API_KEY): the built-in simulator answers, and each answer says so.');
  }
  await aborted(interrupt.signal);
  host.note('Finishing running answers; a second signal ends the process at once');
}
