/** `serve`: the service as a process, from its settings to its last generation. */
import { startWithParts, type ServiceWithParts } from '../service.ts';
import { readSettings, type Settings } from '../settings/settings.ts';
import { Telemetry } from '../telemetry/telemetry.ts';
import { Crash } from './crash.ts';
import { exitCodes } from './exit-codes.ts';
import type { Host } from './host.ts';
import { listening } from './listen.ts';
import { aborted, Interrupt } from './interrupt.ts';
import { joinWorkers } from './workers/member.ts';

/** Settles once the service was asked to end and has drained. */
export async function serve(host: Host): Promise<void> {
  const settings = readSettings(host.env);
  using member = joinWorkers(host.env);
  using crash = new Crash();
  const starting = startWithParts({
    settings,
    env: host.env,
    cwd: host.cwd,
    watch: true,
    telemetry: new Telemetry({ ...settings, worker: member?.number }),
    exposition: member && ((metrics) => metrics.among(member)),
  });
  // A start that fails is reported below.
  const reload = () => void starting.then((service) => service.reload()).catch(() => {});
  // The process that started a worker replaces it, and ends it at a second signal.
  using interrupt = new Interrupt(host, {
    reload,
    replace: member ? () => {} : () => host.note('SIGUSR2 replaces the workers of serve --workers; there are none'),
    onlyOnce: member !== undefined,
  });
  const { metricsHost, metricsPort } = settings;
  const ofMetrics = { host: metricsHost, portPrefix: 'LLM_METRICS_PORT=', hostName: 'LLM_METRICS_HOST' };
  await using service = await listening(
    starting,
    { ...settings, portPrefix: 'PORT=' },
    metricsPort === undefined ? [] : [{ ...ofMetrics, port: metricsPort }],
  );
  const over = Promise.race([aborted(interrupt.signal), crash.error]);
  if (member) {
    member.announce(service.url);
    await Promise.race([over, member.dismissed]);
    if (!interrupt.signal.aborted && !crash.happened) await Promise.race([over, service.retire()]);
  } else {
    host.note(`llm-service listens on ${service.url}`);
    if (metricsPort !== undefined) host.note(`Metrics are at ${service.metricsUrl}`);
    noteSimulator(host, settings);
    await over;
  }
  if (crash.happened) await endAfter(await crash.error, service, host);
  else if (!member) noteDrain(host);
}

/** Gives every running generation its terminal event at once. Whoever disposes the service then closes it. */
async function endAfter(error: unknown, { core }: ServiceWithParts, host: Host): Promise<void> {
  host.exitWith(exitCodes.failure);
  core.telemetry.internalError('process', error);
  host.note('error: something was thrown that nobody has caught; the log has its stack. The process ends');
  await core.generations.drain(0);
}

export function noteSimulator(host: Host, settings: Settings): void {
  if (!settings.simulate) return;
  host.note('No key is set (ANTHROPIC_API_KEY): the built-in simulator answers, and each answer says so.');
}

export function noteDrain(host: Host): void {
  host.note('Finishing running answers; a second signal ends the process at once');
}
