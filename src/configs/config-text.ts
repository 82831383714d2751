/**
 * Parses JSON and YAML, and says every problem in words, with its line and column. Knows no config. No message quotes the text,
 * which may hold prompts and keys.
 */
import { parse as parseTolerantly, visit as visitJson, type ParseError } from 'jsonc-parser';
import { isAlias, parseDocument, visit, type Document, type ErrorCode } from 'yaml';
import { placeIn } from '../settings/problems.ts';

/** A text that is not valid JSON or YAML. Each message says what is wrong, and where. */
export class TextError extends Error {
  override readonly name = 'TextError';
  readonly messages: readonly string[];

  constructor(messages: readonly string[], options?: ErrorOptions) {
    super(messages.join('; '), options);
    this.messages = messages;
  }
}

/** @throws TextError */
export function parseJson(text: string): unknown {
  let message: string;
  try {
    const value: unknown = JSON.parse(text);
    const twice = repeatedKeys(text).map(
      (offset) => `expected JSON: ${yamlWords.DUPLICATE_KEY} in ${placeIn(text, offset)}`,
    );
    if (twice.length === 0) return value;
    throw new TextError(twice.slice(0, problemsMax));
  } catch (error) {
    if (error instanceof TextError) throw error;
    message = (error as SyntaxError).message;
  }
  // V8's message may quote the text around the problem: the quotation is cut off, and the error isn't kept as the cause.
  const words = message.replace(/(, (\.\.\.)?"| in JSON at position | is not valid JSON).*$/s, '');
  const offset = jsonProblemOffset(text, message);
  const hint = /^(\/[/*]|#)/.test(text.slice(offset)) ? '; JSON has no comments' : '';
  throw new TextError([`expected JSON: ${words} in ${placeIn(text, offset)}${hint}`]);
}

/** The offsets of keys that their object has had before. `JSON.parse` accepts them and keeps the last value. */
function repeatedKeys(text: string): number[] {
  const offsets: number[] = [];
  const objects: Set<string>[] = [];
  visitJson(text, {
    onObjectBegin: () => void objects.push(new Set()),
    onObjectEnd: () => void objects.pop(),
    onObjectProperty(name, offset) {
      const names = objects.at(-1)!;
      if (names.has(name)) offsets.push(offset);
      names.add(name);
    },
  });
  return offsets;
}

/** The offset of the problem that V8 reports. Where V8's message has no position, a second parser finds it. */
function jsonProblemOffset(text: string, message: string): number {
  const position = /at position (\d+)/.exec(message)?.[1];
  if (position !== undefined) return Number(position);
  if (/end of JSON/.test(message)) return text.length;
  const errors: ParseError[] = [];
  parseTolerantly(text, errors, { disallowComments: true });
  return errors[0]?.offset ?? 0;
}

/** Further problems mostly follow from the first ones. */
const problemsMax = 5;

/** @throws TextError */
export function parseYaml(text: string): unknown {
  const document = parseDocument(text, { prettyErrors: false });
  const problems = [...document.errors, ...document.warnings].toSorted((a, b) => a.pos[0] - b.pos[0]);
  const messages = problems.map(({ code, pos }) => yamlProblem(text, code, pos[0]));
  if (messages.length > 0) throw new TextError([...new Set(messages)].slice(0, problemsMax));
  const unknown = aliasesWithoutAnchor(document).map((offset) => yamlProblem(text, 'BAD_ALIAS', offset));
  if (unknown.length > 0) throw new TextError(unknown.slice(0, problemsMax));
  try {
    return document.toJS();
  } catch (cause) {
    throw new TextError(['expected YAML whose aliases can be resolved, found too many of them'], { cause });
  }
}

function aliasesWithoutAnchor(document: Document): number[] {
  const offsets: number[] = [];
  visit(document, {
    Node(_key, node) {
      if (isAlias(node) && node.resolve(document) === undefined) offsets.push(node.range?.[0] ?? 0);
    },
  });
  return offsets;
}

function yamlProblem(text: string, code: ErrorCode, offset: number): string {
  const [found, hint] = yamlWords[code].split('; ');
  return `expected YAML: ${found} in ${placeIn(text, offset)}${hint === undefined ? '' : `; ${hint}`}`;
}

/** What each code of the YAML parser means in words; after a semicolon, how to mend it. */
const yamlWords: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: 'an alias (*name) with an anchor or a tag of its own',
  BAD_ALIAS: 'an alias (*name) without an anchor (&name) before it; text that begins with * needs quotes',
  BAD_COLLECTION_TYPE: 'a tag that doesn’t fit its list or map',
  BAD_DIRECTIVE: 'a directive (a line that begins with %) that is not known; text that begins with % needs quotes',
  BAD_DQ_ESCAPE: 'an escape that "double quotes" don’t know; a backslash is \\\\ there, or use \'single quotes\'',
  BAD_INDENT:
    'a line that is indented more or less than those around it, or a bracket or quote that is not closed before',
  BAD_PROP_ORDER: 'an anchor or a tag in the wrong place',
  BAD_SCALAR_START: 'text that begins with a character that needs quotes around it',
  BLOCK_AS_IMPLICIT_KEY: 'a second key on one line; text with ": " in it needs quotes',
  BLOCK_IN_FLOW: 'an indented block within brackets',
  DUPLICATE_KEY: 'a key that its map has twice',
  IMPOSSIBLE: 'a text that can’t be read',
  KEY_OVER_1024_CHARS: 'a key of more than 1024 characters',
  MISSING_CHAR: 'a quote, bracket, comma, colon or blank that is missing',
  MULTILINE_IMPLICIT_KEY: 'a key over several lines, or a line without its ": "',
  MULTIPLE_ANCHORS: 'two anchors on one value',
  MULTIPLE_DOCS: 'a second document after ---; one file holds one',
  MULTIPLE_TAGS: 'two tags on one value',
  NON_STRING_KEY: 'a key that is no text',
  RESOURCE_EXHAUSTION: 'more nesting than can be read',
  TAB_AS_INDENT: 'a tab at the beginning of a line; indent with blanks',
  TAG_RESOLVE_FAILED: 'a tag (!name) that is not known; text that begins with ! needs quotes',
  UNEXPECTED_TOKEN: 'a character that has no meaning there',
};
