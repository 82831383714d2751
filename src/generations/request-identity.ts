/**
 * What makes two requests the same one: every field but those that only say which generation is meant and from where to
 * read it. A field that is added to a request counts without being named here. And what a request weighs, which the same
 * walk through it counts.
 */
import { createHash, type Hash } from 'node:crypto';
import { optionsOutsideIdentity, type StreamRequest } from '../protocol.ts';

export interface MeasuredRequest {
  /** SHA-256 in hex: equal for equal requests, whatever the order in which a client wrote the fields of an object. */
  readonly identity: string;
  /** About what it costs in memory while it runs: its strings twice, as they are and in the body for upstream, and its objects. The config's prompt is not among them. */
  readonly heldBytes: number;
}

/** Bytes of an object, or of a property and its value. */
const valueBytes = 64;
/** Characters that are hashed in one call. A call for each small value would cost more than the hashing. */
const pieceChars = 64 * 1_024;

/** Takes some tenths of a microsecond for each value in the request, and builds no copy of it. */
export function measureRequest(request: StreamRequest): MeasuredRequest {
  const identifying = Object.entries(request).filter(([name]) => !optionsOutsideIdentity.has(name));
  const hash = createHash('sha256');
  const writer = new Writer(hash);
  // No variables and an empty record of them are one request.
  writer.value({ ...Object.fromEntries(identifying), variables: request.variables ?? {} });
  writer.flush();
  return { identity: hash.digest('hex'), heldBytes: writer.heldBytes };
}

/** Writes JSON values in a form that no two different values share. */
class Writer {
  #values = 0;
  /** Of all strings, keys included. */
  #chars = 0;
  /** Of those that have a letter beyond ASCII, of which V8 keeps two bytes for each letter. */
  #wideChars = 0;
  readonly #hash: Hash;
  #pending = '';

  constructor(hash: Hash) {
    this.#hash = hash;
  }

  get heldBytes(): number {
    // The body is one text: a letter beyond ASCII makes all of it wide.
    const bodyBytes = this.#wideChars > 0 ? 2 * this.#chars : this.#chars;
    return this.#chars + this.#wideChars + bodyBytes + valueBytes * this.#values;
  }

  value(value: unknown): void {
    this.#values += 1;
    if (typeof value === 'string') this.#text(value);
    else if (typeof value !== 'object' || value === null) this.#write(`${String(value)};`);
    else if (Array.isArray(value)) this.#list(value);
    else this.#object(value as Readonly<Record<string, unknown>>);
  }

  flush(): void {
    this.#hash.update(this.#pending);
    this.#pending = '';
  }

  #list(list: readonly unknown[]): void {
    this.#write('[');
    for (const each of list) this.value(each);
    this.#write(']');
  }

  #object(object: Readonly<Record<string, unknown>>): void {
    this.#write('{');
    for (const key of Object.keys(object).toSorted()) {
      const value = object[key];
      // Callers in the process may write what JSON leaves out.
      if (value === undefined) continue;
      this.#text(key);
      this.value(value);
    }
    this.#write('}');
  }

  /** Its length goes first, so that nothing in it has to be escaped. */
  #text(text: string): void {
    this.#chars += text.length;
    if (Buffer.byteLength(text) > text.length) this.#wideChars += text.length;
    this.#write(`"${text.length}:`);
    if (text.length < pieceChars) return this.#write(text);
    this.flush();
    this.#hash.update(text);
  }

  #write(piece: string): void {
    this.#pending += piece;
    if (this.#pending.length >= pieceChars) this.flush();
  }
}
