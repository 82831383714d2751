/** What `REDIS_URL` names: one Redis, or some nodes of a cluster, and what goes before the names of all keys. */

export interface RedisAddress {
  /** `redis://` or `rediss://` each; several are nodes of one cluster. A single `unix://` is a socket's path. */
  readonly urls: readonly string[];
  /** Empty unless given. */
  readonly prefix: string;
}

const schemes = new Set(['redis:', 'rediss:', 'unix:']);

/** What a `REDIS_URL` has to be, as a refusal names it. */
export const redisUrlExpected =
  'redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path, several with commas for the nodes of a cluster, and ?prefix=name at the end';

/**
 * Reads `redis://a:6379,redis://b:6379?prefix=shop`. A node after the first may leave out its scheme and credentials, which
 * are then those of the first.
 *
 * @throws TypeError where it is not an address. The message repeats nothing of it, since it may hold a password.
 */
export function parseRedisUrl(text: string): RedisAddress {
  const [first = '', ...others] = text.split(',').map((part) => part.trim());
  const head = urlOf(first);
  const shared = `${head.protocol}//${head.username === '' && head.password === '' ? '' : `${head.username}:${head.password}@`}`;
  const urls = [head, ...others.map((part) => urlOf(part.includes('://') ? part : shared + part))];
  if (urls.length > 1 && urls.some(({ protocol }) => protocol === 'unix:'))
    throw new TypeError(`expected ${redisUrlExpected}`);
  let prefix = '';
  for (const url of urls) {
    for (const name of url.searchParams.keys())
      if (name !== 'prefix') throw new TypeError(`expected ${redisUrlExpected}`);
    prefix = url.searchParams.get('prefix') ?? prefix;
    url.search = '';
  }
  // A brace would take the place of our own hash tag, and a star would be read as a pattern in an ACL.
  if (!/^[\w.:-]*$/.test(prefix)) throw new TypeError('expected a prefix of letters, digits and . : _ - only');
  return { urls: urls.map(String), prefix };
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !schemes.has(url.protocol)) throw new TypeError(`expected ${redisUrlExpected}`);
  return url;
}

/** Whether `parseRedisUrl` takes it. */
export function isRedisUrl(text: string): boolean {
  try {
    parseRedisUrl(text);
    return true;
  } catch {
    return false;
  }
}
