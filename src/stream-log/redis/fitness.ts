/** Whether a Redis can keep stream logs. */
import { SettingsError } from '../../settings/settings.ts';
import type { Connection } from './connection.ts';

/** Sharded channels came with it. Valkey says 7.2. */
const majorVersionMin = 7;
/** Others evict keys without expiry, or those that expire last. */
const policiesAllowed = new Set(['noeviction', 'volatile-ttl']);

/**
 * Reads INFO, since CONFIG is often forbidden. What a managed Redis hides there is taken to be right.
 *
 * @returns How it may lose logs without an error; undefined where it doesn't.
 * @throws SettingsError where it can't keep logs at all
 */
export async function checkFitness(connection: Connection): Promise<string | undefined> {
  const info = String(await connection.command('', 'INFO').catch(() => ''));
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  const version = field('redis_version');
  if (version !== undefined && Number.parseInt(version, 10) < majorVersionMin) {
    throw unfit(`expected Redis ${majorVersionMin} or newer, found ${version}`);
  }
  const policy = field('maxmemory_policy');
  if (policy !== undefined && !policiesAllowed.has(policy) && field('maxmemory') !== '0') {
    throw unfit(
      `this Redis evicts answers that are being written, or ids that must not run again (maxmemory-policy ${policy}): set noeviction or volatile-ttl`,
    );
  }
  if (policy === 'volatile-ttl' && field('maxmemory') !== '0') {
    return 'this Redis drops ended answers before LLM_LOG_RETENTION_MS, and then ids that must not run again, when its memory is full (maxmemory-policy volatile-ttl); with noeviction, new generations are refused then';
  }
  if (field('aof_enabled') === '0' && field('connected_slaves') === '0' && !(await isSaved(connection))) {
    return 'this Redis keeps nothing over a restart, and has no replica: ended answers are lost then, and their ids may run, and be billed, again; set appendonly yes';
  }
  return undefined;
}

/** Whether it writes its data to disk from time to time. Taken to be so where it doesn't say. */
async function isSaved(connection: Connection): Promise<boolean> {
  const answer = await connection.command('', 'CONFIG', 'GET', 'save').catch(() => undefined);
  const points = Array.isArray(answer) ? answer[1] : (answer as { readonly save?: unknown } | undefined)?.save;
  return points !== '';
}

function unfit(message: string): SettingsError {
  return new SettingsError('these environment variables are not valid:', [{ path: 'REDIS_URL', message }]);
}
