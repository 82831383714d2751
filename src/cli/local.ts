/** A service within this process, without a listener, for one command. */
import { createCore } from '../service.ts';
import { readSettings } from '../settings/settings.ts';
import { Telemetry } from '../telemetry/telemetry.ts';
import type { Host } from './host.ts';
import type { Target } from './target.ts';

/** @throws SettingsError, ConfigError */
export async function openLocal({ env, cwd, stderr }: Host): Promise<Target> {
  const settings = readSettings({ LOG_LEVEL: 'silent', ...env });
  const telemetry = new Telemetry({ ...settings, destination: stderr });
  const core = await createCore({ settings, env, cwd, telemetry });
  const caller = { name: 'cli' };
  return {
    async *stream(request, signal) {
      for await (const batch of core.generations.stream(caller, request, signal)) {
        for (const { event } of batch) yield event;
      }
    },
    cancel: (generationId) => core.generations.cancel(caller, generationId),
    resolve: (generationId, answers) => core.generations.resolve(caller, generationId, answers),
    [Symbol.asyncDispose]: () => core[Symbol.asyncDispose](),
  };
}
