/**
 * A Lua script, as Redis runs it: one atomic step, which may be repeated after its answer was lost.
 *
 * The texts stand in `scripts/`, a file each. They are TypeScript files with one string, since a `.lua` file would have to be
 * copied by the build, found at run time, and would be lost where an app bundles this package. Redis knows a script by the hash
 * of its text, so two releases with different texts can share one Redis.
 */
import { createHash } from 'node:crypto';

export interface Script {
  readonly sha: string;
  readonly lua: string;
}

export function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}
