/**
 * Prompt templates: `{{name}}` stands for a variable, everything else is text. Variables are replaced in one pass; there is no
 * logic and no escape, and braces without a name between them stay in the text. The types find the same names in a literal as
 * the code does at run time. The text is kept in a closure, so that neither JSON nor console.log of an object that holds the
 * prompt shows it.
 */

/** A prompt whose variables get their values at each request. */
export interface Prompt {
  /** Each name once, in order of first use. */
  readonly variables: readonly string[];

  /** The text with every variable replaced. Braces within a value stay text, and values without a variable are ignored. @throws Error where a value is missing. */
  render(values: Readonly<Record<string, string>>): string;

  /** The number of characters that `render` returns. @throws Error as `render` does. */
  charsOf(values: Readonly<Record<string, string>>): number;
}

/** Blanks and line ends may stand within the braces. With its one group, `split` returns text and names by turns. */
const placeholder = /\{\{[ \t\r\n]*([A-Za-z_][A-Za-z0-9_]*)[ \t\r\n]*\}\}/;

export function createPrompt(text: string): Prompt {
  const parts = text.split(placeholder);
  const variables = Object.freeze([...new Set(parts.filter((_, index) => index % 2 === 1))]);
  const filled = (values: Readonly<Record<string, string>>) =>
    parts.map((part, index) => (index % 2 === 0 ? part : valueOf(values, part)));
  return Object.freeze({
    variables,
    render: (values: Readonly<Record<string, string>>) => filled(values).join(''),
    charsOf: (values: Readonly<Record<string, string>>) =>
      filled(values).reduce((chars, part) => chars + part.length, 0),
  });
}

function valueOf(values: Readonly<Record<string, string>>, name: string): string {
  const value = Object.hasOwn(values, name) ? values[name] : undefined;
  if (value === undefined) throw new Error(`no value for the prompt variable "${name}"`);
  return value;
}

// ----------------------------------------------------------------------------------------------------------- types

/**
 * The union of the variables in a literal text, `never` if there are none. `string` for a text that is not a literal
 * (concatenated, or a template with expressions), since any name may be in it.
 */
export type VariablesIn<Text extends string> = IsLiteral<Text> extends true ? Find<Text> : string;

// `{}` satisfies an index signature but not a literal key. So this also distinguishes `a${string}` from 'ab'.
type IsLiteral<Text extends string> = {} extends Record<Text, 1> ? false : true;

type Find<Text extends string, Found extends string = never> = Text extends `${string}{{${infer Rest}`
  ? FindInside<Rest, Found>
  : Found;

// Of three braces the last two count. Where no name follows, the search continues right after the opening braces.
type FindInside<Text extends string, Found extends string> = Text extends `{${infer Rest}`
  ? FindInside<Rest, Found>
  : Text extends `${infer Inside}}}${infer Rest}`
    ? [Name<Trim<Inside>>] extends [never]
      ? Find<Text, Found>
      : Find<Rest, Found | Name<Trim<Inside>>>
    : Found;

type Trim<Text extends string> = Text extends `${Blank}${infer Rest}`
  ? Trim<Rest>
  : Text extends `${infer Rest}${Blank}`
    ? Trim<Rest>
    : Text;

type Name<Text extends string> = Text extends `${Initial}${infer Rest}`
  ? IsTail<Rest> extends true
    ? Text
    : never
  : never;
type IsTail<Text extends string> = Text extends ''
  ? true
  : Text extends `${Initial | Digit}${infer Rest}`
    ? IsTail<Rest>
    : false;

type Blank = ' ' | '\t' | '\r' | '\n';
type Digit = '0' | '1' | '2' | '3' | '4' | '5' | '6' | '7' | '8' | '9';
type Initial = Letter | Uppercase<Letter> | '_';
// prettier-ignore
type Letter =
  | 'a' | 'b' | 'c' | 'd' | 'e' | 'f' | 'g' | 'h' | 'i' | 'j' | 'k' | 'l' | 'm'
  | 'n' | 'o' | 'p' | 'q' | 'r' | 's' | 't' | 'u' | 'v' | 'w' | 'x' | 'y' | 'z';
