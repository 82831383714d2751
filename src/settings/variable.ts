/**
 * What the tables of variables say of one variable of the environment, and how one is read. Knows no variable. Neither a
 * problem nor the reference shows the value of a secret.
 */
import { z } from 'zod';
import { quote, type Problem } from './problems.ts';

/** Variables by their names, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** One variable of the environment. */
export interface Variable<Value = unknown> {
  readonly name: string;
  /** Whether the name may be written in lower case too. As for curl, that spelling counts where both are set. */
  readonly lowerCaseToo?: true;
  /** Judges and reads a text that is neither blank nor padded. Its `error` says what was expected. */
  readonly rule: z.ZodType<Exclude<Value, undefined>, string>;
  /** The value where the variable is not set. */
  readonly default: Value;
  readonly meaning: string;
  /** Set where the value, or a text that was meant as one, may be a secret. */
  readonly secret?: true;
}

// ------------------------------------------------------------------------------------------------------------ rules

/** A text that a function can read; it returns undefined for one that it can't. */
export function readable<Value extends {}>(expected: string, read: (text: string) => Value | undefined) {
  return z.string().transform((written, { issues }): Value => {
    const value = read(written);
    if (value !== undefined) return value;
    issues.push({ code: 'custom', input: written, message: expected });
    return z.NEVER;
  });
}

/** A number in decimal digits, within the bounds of another rule. */
export function digits(bounds: z.ZodType<number, number>) {
  return z
    .string()
    .transform((written) => (/^\d{1,16}$/.test(written) ? Number(written) : Number.NaN))
    .pipe(bounds);
}

/** A number in decimal digits, with or without a point, within the bounds of another rule. */
export function decimals(bounds: z.ZodType<number, number>) {
  return z
    .string()
    .transform((written) => (/^\d{1,12}(\.\d{1,9})?$/.test(written) ? Number(written) : Number.NaN))
    .pipe(bounds);
}

/** Texts between commas. Blanks around them don't count, nor does a comma at the end. */
export function list<Entry>(entry: z.ZodType<Entry, string>): z.ZodType<readonly Entry[], string> {
  return z.string().transform(entriesOf).pipe(z.array(entry));
}

function entriesOf(written: string): string[] {
  return written
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

// ---------------------------------------------------------------------------------------------------------- reading

/**
 * The value of a variable, or its default where it isn't set. One that is empty or blank counts as unset, since compose
 * files write `${NAME:-}`. What is wrong with it is added to the problems.
 */
export function readVariable<Value>(variable: Variable<Value>, env: Environment, problems: Problem[]): Value {
  const names = variable.lowerCaseToo ? [variable.name.toLowerCase(), variable.name] : [variable.name];
  const path = names.find((name) => env[name]?.trim());
  if (path === undefined) return variable.default;
  const written = env[path]!.trim();
  const result = variable.rule.safeParse(written);
  if (result.success) return result.data;
  problems.push({ path, message: sentenceOf(result.error.issues[0]!, written, variable.secret === true) });
  return variable.default;
}

/**
 * The message of a problem. A rule that has the whole sentence puts it into `params.sentence`. A rule that can say what it found
 * without quoting a secret puts that into `params.found`.
 */
function sentenceOf(issue: z.core.$ZodIssue, written: string, secret: boolean): string {
  const { sentence, found } = (issue.code === 'custom' ? (issue.params ?? {}) : {}) as {
    readonly sentence?: string;
    readonly found?: string;
  };
  if (sentence !== undefined) return sentence;
  const [index] = issue.path;
  const entries = entriesOf(written);
  const part = typeof index === 'number' ? entries[index]! : written;
  const place = secret && typeof index === 'number' ? ` in entry ${index + 1} of ${entries.length}` : '';
  return `expected ${issue.message}, found ${found ?? (secret ? 'text, not shown here' : quote(part))}${place}`;
}
