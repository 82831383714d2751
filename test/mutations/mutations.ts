/** The mutations. Each is a patch, whose heading says what it breaks and which test files catch it. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

export interface Mutation {
  readonly name: string;
  /** What goes wrong, in one sentence. */
  readonly meaning: string;
  readonly caughtBy: readonly string[];
  /** The path of the patch. */
  readonly patch: string;
}

const folder = 'test/mutations';

/** @throws Error for a patch without a heading. */
export function mutations(): Mutation[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.patch'))
    .map((name) => {
      const patch = join(folder, name);
      const heading = /^(.+)\nCaught by: (.+)\n\n--- /.exec(readFileSync(patch, 'utf8'));
      if (!heading) throw new Error(`${patch} does not begin with what it breaks and "Caught by: "`);
      return { name: basename(name, '.patch'), meaning: heading[1]!, caughtBy: heading[2]!.split(', '), patch };
    });
}
