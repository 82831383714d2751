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
 * @throws SettingsError where it can't
 */
export async function checkFitness(connection: Connection): Promise<void> {
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
}

function unfit(message: string): SettingsError {
  return new SettingsError('these environment variables are not valid:', [{ path: 'REDIS_URL', message }]);
}
