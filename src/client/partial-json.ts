/**
 * Parses JSON that is still being written. Each character is looked at once, so the time for a text grows with its length, however
 * small the pieces are in which it arrives; to parse the whole text anew at each piece would grow with the square.
 *
 * A string can be seen while it is being written, and a number, `true`, `false` or `null` once it is whole: half of a number is
 * another number. From a mark on that can't stand where it stands, the value stays as it is.
 */

type Container = unknown[] | Record<string, unknown>;

/** An array or object that is still open. */
interface Open {
  container: Container;
  /** The key in an object whose value is read, or was read last. */
  key: string;
  /** The number of the `take` before which the container was made or copied. An older one has been given out. */
  madeFor: number;
}

/** What may stand at the next character outside of strings and numbers. */
type Place = 'value' | 'first value' | 'key' | 'first key' | 'colon' | 'comma' | 'nothing';

const blank = /[ \t\n\r]*/y;
/** The characters of a string that stand for themselves. */
const plainText = /[^"\\]*/y;
/** A number, `true`, `false` or `null`, as far as it goes. */
const scalarText = /[^\s"{}[\],:]*/y;
const wholeEscape = /^\\(?:["\\/bfnrt]|u[\da-f]{4})$/i;
const partOfEscape = /^\\(?:u[\da-f]{0,3})?$/i;
const highSurrogate = /^[\ud800-\udbff]$/;

export class PartialJson {
  #root: unknown;
  readonly #open: Open[] = [];
  #place: Place = 'value';
  #reads: 'marks' | 'string' | 'key' | 'scalar' = 'marks';
  /** The string, key or scalar that is being read, as far as it has arrived. */
  #text = '';
  /** The part of an escape that has arrived. */
  #escape = '';
  /** The first half of a surrogate pair, written as an escape, whose second half has not arrived. */
  #half = '';
  /** How many characters of the string that is being read are in its container; -1 where it isn't there yet. */
  #shownChars = -1;
  #broken = false;
  #changed = false;
  #takes = 0;

  /** Whether `take` would return something else than it did last. */
  get changed(): boolean {
    return this.#changed;
  }

  /**
   * The value as far as it has been written; undefined before its first character. It does not change any more: what is pushed
   * later becomes part of copies, and parts that stay the same are shared.
   */
  take(): unknown {
    if (this.#reads === 'string') {
      this.#put(this.#text, this.#shownChars >= 0);
      this.#shownChars = this.#text.length;
    }
    this.#changed = false;
    this.#takes += 1;
    return this.#root;
  }

  /** Reads on. */
  push(piece: string): void {
    let at = 0;
    while (at < piece.length && !this.#broken) {
      if (this.#reads === 'marks') at = this.#readMark(piece, at);
      else if (this.#reads === 'scalar') at = this.#readScalar(piece, at);
      else at = this.#escape === '' ? this.#readString(piece, at) : this.#readEscape(piece, at);
    }
  }

  // ------------------------------------------------------------------------------------------------------- characters

  /** Each of these reads from `at`, and returns where the next one begins. */
  #readMark(piece: string, from: number): number {
    const at = endOf(blank, piece, from);
    const mark = piece[at];
    const place = this.#place;
    const mayBeValue = place === 'value' || place === 'first value';
    const mayBeKey = place === 'key' || place === 'first key';
    if (mark === undefined) return at;
    if (mayBeValue && (mark === '{' || mark === '[')) this.#begin(mark);
    else if (mayBeValue && mark === '"') this.#beginText('string');
    else if (mayBeKey && mark === '"') this.#beginText('key');
    else if (mark === ':' && place === 'colon') this.#place = 'value';
    else if (mark === ',' && place === 'comma') this.#place = this.#inArray ? 'value' : 'key';
    else if (mark === '}' && (place === 'first key' || (place === 'comma' && !this.#inArray))) this.#end();
    else if (mark === ']' && (place === 'first value' || (place === 'comma' && this.#inArray))) this.#end();
    else if (mayBeValue && endOf(scalarText, piece, at) > at) {
      this.#beginText('scalar');
      return at;
    } else this.#broken = true;
    return at + 1;
  }

  #readScalar(piece: string, at: number): number {
    const end = endOf(scalarText, piece, at);
    this.#text += piece.slice(at, end);
    if (end === piece.length) return end;
    const value = parsed(this.#text);
    if (value === undefined) this.#broken = true;
    else this.#put(value, false);
    this.#afterValue();
    return end;
  }

  #readString(piece: string, at: number): number {
    const end = endOf(plainText, piece, at);
    if (end > at) this.#append(piece.slice(at, end));
    if (piece[end] === '"') this.#endText();
    else if (end < piece.length) this.#escape = '\\';
    return end + 1;
  }

  #readEscape(piece: string, at: number): number {
    this.#escape += piece[at];
    if (wholeEscape.test(this.#escape)) {
      const character = JSON.parse(`"${this.#escape}"`) as string;
      this.#escape = '';
      if (highSurrogate.test(character)) this.#half += character;
      else this.#append(character);
    } else if (!partOfEscape.test(this.#escape)) this.#broken = true;
    return at + 1;
  }

  #append(text: string): void {
    this.#text += this.#half + text;
    this.#half = '';
    this.#changed ||= this.#reads === 'string';
  }

  // ----------------------------------------------------------------------------------------------------------- values

  get #inArray(): boolean {
    return Array.isArray(this.#open.at(-1)?.container);
  }

  #begin(mark: '{' | '['): void {
    const container: Container = mark === '{' ? {} : [];
    this.#put(container, false);
    this.#open.push({ container, key: '', madeFor: this.#takes });
    this.#place = mark === '{' ? 'first key' : 'first value';
  }

  #end(): void {
    this.#open.pop();
    this.#afterValue();
  }

  #beginText(kind: 'string' | 'key' | 'scalar'): void {
    this.#reads = kind;
    this.#text = '';
    this.#shownChars = -1;
    this.#changed ||= kind === 'string';
  }

  #endText(): void {
    if (this.#half !== '') this.#append('');
    if (this.#reads === 'string') {
      if (this.#shownChars !== this.#text.length) this.#put(this.#text, this.#shownChars >= 0);
      this.#afterValue();
    } else {
      this.#open.at(-1)!.key = this.#text;
      this.#reads = 'marks';
      this.#place = 'colon';
    }
  }

  #afterValue(): void {
    this.#reads = 'marks';
    this.#place = this.#open.length === 0 ? 'nothing' : 'comma';
  }

  /** Puts a value where the text is now: after the others of its array, or in the place of the last one. */
  #put(value: unknown, inPlaceOfLast: boolean): void {
    this.#changed = true;
    if (this.#open.length === 0) {
      this.#root = value;
      return;
    }
    this.#copyOpen();
    const { container, key } = this.#open.at(-1)!;
    set(container, Array.isArray(container) && !inPlaceOfLast ? container.length : placeOf(container, key), value);
  }

  /** Copies those open containers that `take` has given out. All containers around one that was given out were given out too. */
  #copyOpen(): void {
    const open = this.#open;
    let first = open.length;
    while (first > 0 && open[first - 1]!.madeFor !== this.#takes) first -= 1;
    for (const [offset, each] of open.slice(first).entries()) {
      each.container = Array.isArray(each.container) ? each.container.slice() : { ...each.container };
      each.madeFor = this.#takes;
      const around = open[first + offset - 1];
      if (around) set(around.container, placeOf(around.container, around.key), each.container);
      else this.#root = each.container;
    }
  }
}

/** Where the value stands that was put last. */
function placeOf(container: Container, key: string): PropertyKey {
  return Array.isArray(container) ? container.length - 1 : key;
}

/** Not an assignment, which would set the prototype of an object where the key is `__proto__`. */
function set(container: Container, place: PropertyKey, value: unknown): void {
  if (place !== '__proto__') (container as Record<PropertyKey, unknown>)[place] = value;
  else Object.defineProperty(container, place, { value, enumerable: true, configurable: true, writable: true });
}

/** Undefined where the text is no JSON, which can't say undefined. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** The end of what the sticky pattern matches from there on. */
function endOf(pattern: RegExp, piece: string, from: number): number {
  pattern.lastIndex = from;
  return from + pattern.exec(piece)![0].length;
}
