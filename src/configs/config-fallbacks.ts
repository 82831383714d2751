/** Judges which config may take over for which. Works on configs as written, so that other problems don't hide those of fallbacks. */
import { formatPath } from '../protocol.ts';
import { quote, suggestion, type Problem } from '../settings/problems.ts';

/** The keys whose schemas clients know an answer by: a fallback must answer in the same way. */
export const shapeKeys = ['output', 'tools'] as const;

/** What is known of a config that is valid by itself. */
interface Judged {
  readonly prompt: { readonly variables: readonly string[] };
  readonly shape: Readonly<Record<(typeof shapeKeys)[number], string>>;
}

/** A config as written, and where it stands. */
export interface WrittenConfig {
  readonly path: readonly PropertyKey[];
  readonly value: unknown;
}

/**
 * What is wrong with the fallback of one config; empty if nothing is, or if it has none.
 *
 * @param judgedAs What is known of a config; undefined where it is wrong in other ways.
 */
export function fallbackProblems(
  name: string,
  entries: ReadonlyMap<string, WrittenConfig>,
  judgedAs: (name: string) => Judged | undefined,
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
  const [own, other] = [judgedAs(name), judgedAs(fallback)];
  if (!own || !other) return [];
  const extra = other.prompt.variables.filter((variable) => !own.prompt.variables.includes(variable));
  if (extra.length > 0) {
    return problem(
      `expected a config with no variables but this one's, found ${quote(fallback)} with ${extra.join(', ')}`,
    );
  }
  const differing = shapeKeys.filter((key) => own.shape[key] !== other.shape[key]);
  if (differing.length === 0) return [];
  return problem(
    `expected a config with the same ${differing.join(' and ')}, found ${quote(fallback)} with other ${differing.join(' and ')}`,
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
