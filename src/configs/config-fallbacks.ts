/** Judges which config may take over for which. Works on configs as written, so that other problems don't hide those of fallbacks. */
import { formatPath } from '../protocol.ts';
import { quote, suggestion, type Problem } from '../settings/problems.ts';

/** A config as written, and where it stands. */
export interface WrittenConfig {
  readonly path: readonly PropertyKey[];
  readonly value: unknown;
}

/**
 * What is wrong with the fallback of one config; empty if nothing is, or if it has none.
 *
 * @param variablesOf The variables of a config's prompt; undefined where the config is wrong in other ways.
 */
export function fallbackProblems(
  name: string,
  entries: ReadonlyMap<string, WrittenConfig>,
  variablesOf: (name: string) => readonly string[] | undefined,
): Problem[] {
  const { path, value } = entries.get(name)!;
  const fallback = fallbackOf(value);
  if (fallback === undefined) return [];
  const problem = (message: string) => [{ path: formatPath([...path, 'fallback']), message }];
  if (!entries.has(fallback)) {
    return problem(
      `expected the name of another config, found ${quote(fallback)}${suggestion(fallback, entries.keys())}`,
    );
  }
  const chain = fallbackChain(name, entries);
  if (chain.at(-1) === name) return problem(`expected a chain that ends, found ${chain.join(' → ')}`);
  const own = variablesOf(name);
  const extra = variablesOf(fallback)?.filter((variable) => own?.includes(variable) === false) ?? [];
  if (extra.length === 0) return [];
  return problem(
    `expected a config with no variables but this one's, found ${quote(fallback)} with ${extra.join(', ')}`,
  );
}

/** Takes the fallback from the config as written, so that it is judged also where other keys are wrong. */
function fallbackOf(value: unknown): string | undefined {
  const fallback = typeof value === 'object' && value !== null && 'fallback' in value ? value.fallback : undefined;
  return typeof fallback === 'string' ? fallback : undefined;
}

/** This name and its fallbacks in turn, up to a config without a fallback or the first name that is repeated. */
function fallbackChain(name: string, entries: ReadonlyMap<string, WrittenConfig>): string[] {
  const chain = [name];
  for (
    let next = fallbackOf(entries.get(name)?.value);
    next !== undefined;
    next = fallbackOf(entries.get(next)?.value)
  ) {
    const again = chain.includes(next);
    chain.push(next);
    if (again) break;
  }
  return chain;
}
