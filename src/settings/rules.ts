/**
 * What settings and configs have in common: rules in zod, and the problems that they find. The `error` of a rule says what was
 * expected; `problemsIn` adds where, and what was found. Knows no setting and no config.
 */
import { z } from 'zod';
import { timerMsMax } from '../flow/within.ts';
import { formatPath } from '../protocol.ts';
import { toolIn } from '../tools/tool.ts';
import { describeValue, suggestion, type Problem } from './problems.ts';

// ------------------------------------------------------------------------------------------------------------ rules

export const text = (expected = 'text') => z.string({ error: expected });

/** Text that is not blank. */
export const filledText = (expected: string) => text(expected).regex(/\S/, { error: expected });

export const truth = () => z.boolean({ error: 'true or false' });

export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER) {
  const error =
    max < Number.MAX_SAFE_INTEGER ? `a whole number from ${min} to ${max}` : `a whole number of at least ${min}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

/** A number that may have decimals. */
export function amount(min: number) {
  const error = `a number of at least ${min}, such as 2.50`;
  return z.number({ error }).min(min, { error });
}

/** Milliseconds that a timer of Node can be set for. */
export const durationMs = (min = 1) => wholeNumber(min, timerMsMax);

/** An object with these keys and no others. Its problem for an unknown key is the list of the known ones, for `problemsIn`. */
export function closed<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? Object.keys(shape).join(', ') : 'an object'),
  });
}

const variableNameExpected = 'the name of an environment variable';

export const variableName = () =>
  text(variableNameExpected).regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: variableNameExpected });

// --------------------------------------------------------------------------------------------------------- problems

/**
 * All that a rule found wrong, one problem for each place. The message of an issue says what was expected; that of a custom
 * issue with the param `whole` is the whole sentence.
 *
 * @param value What the rule was given.
 * @param path Where that value stands.
 * @param isSecret Whether the text at a path within the value may be a secret; no problem quotes such a text.
 */
export function problemsIn(
  error: z.core.$ZodError,
  value: unknown,
  path: readonly PropertyKey[],
  isSecret: (path: readonly PropertyKey[]) => boolean,
): Problem[] {
  const problems = new Map<string, Problem>();
  for (const issue of error.issues.flatMap((each) => meantBranch(each))) {
    const place = formatPath([...path, ...issue.path]);
    if (issue.code === 'unrecognized_keys') {
      const known = issue.message.split(', ');
      for (const key of issue.keys) {
        const hint = suggestion(key, known) || `; known are ${issue.message}`;
        problems.set(`${place}.${key}`, {
          path: formatPath([...path, ...issue.path, key]),
          message: `unknown key${hint}`,
        });
      }
    } else if (problems.has(place)) {
      continue;
    } else if (issue.code === 'custom' && issue.params?.['whole'] === true) {
      problems.set(place, { path: place, message: issue.message });
    } else {
      const found = valueAt(value, issue.path);
      const shown = typeof found === 'string' && isSecret(issue.path) ? 'text, not shown here' : describeValue(found);
      problems.set(place, { path: place, message: `expected ${issue.message}, found ${shown}` });
    }
  }
  return [...problems.values()];
}

/** Where a rule has several forms and an object was found, the problems of the form for objects say more than "none of these". */
function meantBranch(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const meant = issue.errors.find((branch) => !branch.some((each) => each.path.length === 0 && isMismatch(each)));
  return meant?.map((each) => ({ ...each, path: [...issue.path, ...each.path] })) ?? [issue];
}

function isMismatch(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value';
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (found, key) => (writtenOf(found) as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
}

/** A tool as it was written, where the value is what `tool` or `clientTool` made of it. */
function writtenOf(value: unknown): unknown {
  return toolIn(value)?.raw ?? value;
}
