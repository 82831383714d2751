/**
 * What makes two requests the same one: every field but those that only say which generation is meant and from where to
 * read it. A field that is added to a request counts without being named here.
 */
import { createHash, type Hash } from 'node:crypto';
import type { StreamRequest } from './protocol.ts';

/** Characters that are hashed in one call. A call for each small value would cost more than the hashing. */
const pieceChars = 64 * 1_024;

/**
 * A digest that is equal for equal requests, whatever the order in which a client wrote the fields of an object. It takes
 * some tenths of a microsecond for each value in the request, and builds no copy of it.
 *
 * @returns SHA-256 in hex
 */
export function identityOf(request: StreamRequest): string {
  const { generationId: _generationId, lastEventId: _lastEventId, ...asked } = request;
  const hash = createHash('sha256');
  const writer = new Writer(hash);
  writer.value({ ...asked, variables: asked.variables ?? {} });
  writer.flush();
  return hash.digest('hex');
}

/** Writes JSON values in a form that no two different values share. */
class Writer {
  readonly #hash: Hash;
  #pending = '';

  constructor(hash: Hash) {
    this.#hash = hash;
  }

  value(value: unknown): void {
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
