/**
 * Problems: what an operator wrote wrong in a config file or a setting. An error holds all problems that were found, each with
 * its place, what was expected and what was found. Knows no format. Its callers keep secrets out of a problem.
 */

/** One thing that an operator wrote wrong. */
export interface Problem {
  /** Where it is: `default.max_tokens`, `PORT`. Empty where it concerns the whole. */
  readonly path: string;
  /** What is wrong there, in most cases what was expected and what was found. */
  readonly message: string;
}

/** The error for problems. Its message can be printed as it is: a headline, then a line for each problem. */
export class ProblemsError extends Error {
  /** `ProblemsError`, or the name of the class below it: `ConfigError`, `SettingsError`. */
  override readonly name: string = 'ProblemsError';
  /** At least one. */
  readonly problems: readonly Problem[];

  constructor(headline: string, problems: readonly Problem[], options?: ErrorOptions) {
    super([headline, ...linesOf(problems)].join('\n'), options);
    this.problems = problems;
  }
}

/** A line for each problem, to print below a headline. */
export function linesOf(problems: readonly Problem[]): string[] {
  return problems.map(({ path, message }) => `  ${path === '' ? message : `${path}: ${message}`}`);
}

/** The place of an offset in a text, with lines and columns counted from 1: `line 2, column 5`. */
export function placeIn(text: string, offset: number): string {
  const lines = text.slice(0, offset).split('\n');
  return `line ${lines.length}, column ${lines.at(-1)!.length + 1}`;
}

const shownCharsMax = 40;

/** A value in the words of a problem: `"many" (string)`, `0.5 (number)`, `a list of 3`, `nothing`. Long text is cut. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  switch (typeof value) {
    case 'string':
      return `${quote(value)} (string)`;
    case 'number':
    case 'boolean':
    case 'bigint':
      return `${value} (${typeof value})`;
    case 'object':
      return 'an object';
    default:
      return `a ${typeof value}`;
  }
}

/** The text in double quotes, on one line. Long text is cut. */
export function quote(text: string): string {
  return text.length <= shownCharsMax ? JSON.stringify(text) : `${JSON.stringify(text.slice(0, shownCharsMax))}…`;
}

const nameCharsMax = 100;

/**
 * The known name that was probably meant: the nearest one, if at most a third of its letters are wrong. Case, `_` and `-` don't
 * count, so `maxTokens` finds `max_tokens`.
 */
function nearestName(name: string, known: Iterable<string>): string | undefined {
  if (name.length > nameCharsMax) return undefined;
  let nearest: string | undefined;
  let least = Infinity;
  for (const candidate of known) {
    const distance = editDistance(plain(name), plain(candidate));
    if (distance < least && distance <= plain(candidate).length / 3) [nearest, least] = [candidate, distance];
  }
  return nearest;
}

/** The end of a sentence, `; did you mean "…"?`; empty if no known name is near. */
export function suggestion(name: string, known: Iterable<string>): string {
  const nearest = nearestName(name, known);
  return nearest === undefined ? '' : `; did you mean "${nearest}"?`;
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[_-]/g, '');
}

/** Levenshtein's distance: how many letters must be inserted, deleted or replaced. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
