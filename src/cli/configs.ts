/** `configs`, `config check` and `config schema`: lists configs, judges a config file, and prints the format of config files. */
import { loadConfigs } from '../configs/config-file.ts';
import { configFileJsonSchema } from '../configs/config-schema.ts';
import { linesOf } from '../settings/problems.ts';
import type { ConfigSummary } from '../protocol.ts';
import { readSettings } from '../settings/settings.ts';
import { exitCodes } from './exit-codes.ts';
import { withoutControls, type Host } from './host.ts';
import type { RemoteOptions } from './options.ts';
import { asked } from './words.ts';

export async function listConfigs(host: Host, options: RemoteOptions & { readonly json?: boolean }): Promise<void> {
  const { json, url } = options;
  const summaries =
    url === undefined ? (await load(host)).configs.summaries() : await remoteConfigs(host, { ...options, url });
  await host.stdout.write(json ? `${JSON.stringify(summaries, null, 2)}\n` : table(summaries));
}

async function remoteConfigs(host: Host, there: RemoteOptions & { readonly url: string }): Promise<ConfigSummary[]> {
  const { openRemote } = await import('./remote.ts');
  await using target = openRemote(host, there);
  return await asked(there, () => target.configs());
}

function table(summaries: readonly ConfigSummary[]): string {
  const rows = summaries.map(({ name, model, variables, description = '' }) =>
    [name, model, variables.map((variable) => `{{${variable}}}`).join(' '), description].map(withoutControls),
  );
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
  return rows.map((row) => `${line(row).trimEnd()}\n`).join('');
}

/**
 * Says whether the configs can be served. Prints warnings to stderr; with `strict` they lead to exit code 2.
 *
 * @throws SettingsError, ConfigError with every problem that was found.
 */
export async function checkConfigs(host: Host, given: string | undefined, strict: boolean): Promise<void> {
  const { file, configs } = await load(host, given);
  if (configs.warnings.length > 0) {
    host.note(`${file} has warnings:`);
    for (const line of linesOf(configs.warnings)) host.note(line);
    if (strict) return host.exitWith(exitCodes.usage);
  }
  await host.stdout.write(`${file} is valid: ${configs.names.join(', ')}\n`);
}

export async function printConfigSchema(host: Host): Promise<void> {
  await host.stdout.write(`${JSON.stringify(configFileJsonSchema(), null, 2)}\n`);
}

async function load({ env, cwd }: Host, given?: string) {
  const settings = readSettings(env);
  const file = given ?? settings.configFile;
  return { file, configs: await loadConfigs({ file, overrides: settings.configs, cwd, env }) };
}
