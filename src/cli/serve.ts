/** `serve`: the service as a process, from its settings to its last generation. */
import { startService } from '../service.ts';
import { readSettings, type Settings } from '../settings/settings.ts';
import type { Host } from './host.ts';
import { listening } from './listen.ts';
import { aborted, Interrupt } from './interrupt.ts';
import { joinWorkers } from './workers/member.ts';

/** Settles once the service was asked to end and has drained. */
export async function serve(host: Host): Promise<void> {
  const settings = readSettings(host.env);
  using member = joinWorkers();
  const starting = startService({ settings, env: host.env, cwd: host.cwd, watch: true });
  // A start that fails is reported below.
  const reload = () => void starting.then((service) => service.reload()).catch(() => {});
  // The process that started a worker replaces it, and ends it at a second signal.
  using interrupt = new Interrupt(host, { reload, ...(member ? { replace() {}, onlyOnce: true } : {}) });
  const { metricsHost, metricsPort } = settings;
  const ofMetrics = { host: metricsHost, portPrefix: 'LLM_METRICS_PORT=', hostName: 'LLM_METRICS_HOST' };
  await using service = await listening(
    starting,
    { ...settings, portPrefix: 'PORT=' },
    metricsPort === undefined ? [] : [{ ...ofMetrics, port: metricsPort }],
  );
  if (member) {
    member.announce(service.url);
    await Promise.race([aborted(interrupt.signal), member.dismissed]);
    if (!interrupt.signal.aborted) await Promise.race([aborted(interrupt.signal), service.retire()]);
    return;
  }
  host.note(`llm-service listens on ${service.url}`);
  if (metricsPort !== undefined) host.note(`Metrics are at ${service.metricsUrl}`);
  noteSimulator(host, settings);
  await aborted(interrupt.signal);
  noteDrain(host);
}

export function noteSimulator(host: Host, settings: Settings): void {
  if (!settings.simulate) return;
  host.note('No key is set (ANTHROPIC_API_KEY): the built-in simulator answers, and each answer says so.');
}

export function noteDrain(host: Host): void {
  host.note('Finishing running answers; a second signal ends the process at once');
}
