/**
 * The identity of a request: two requests under one generationId are the same if their identities are. The table of options in
 * protocol/inputs.ts says which options are part of it; a field that the table lacks is. The same walk through the request also counts
 * what it holds in memory.
 */
import { createHash, type Hash } from 'node:crypto';
import { optionsOutsideIdentity, type StreamRequest } from '../protocol.ts';

export interface MeasuredRequest {
  /** SHA-256 in hex. Equal requests have the same, in whatever order a client wrote the fields of an object. */
  readonly identity: string;
  /**
   * About the bytes that it holds in memory while it runs: its strings, the same strings once more in the body for upstream, and its
   * objects. The config's prompt is not counted.
   */
  readonly heldBytes: number;
}

/** Bytes that are counted for each object, and for each property with its value. */
const valueBytes = 64;
/** Characters that are hashed in one call. One call for each small value would cost more than the hashing itself. */
const pieceChars = 64 * 1_024;

/** Characters of a request that take about a millisecond to hash. */
const largeChars = 512 * 1_024;

/** Whether a request takes a noticeable time to measure, and then to send. Looks at no more strings than it needs to know. */
export function isLarge({ messages }: StreamRequest): boolean {
  return roomAfter(messages, largeChars) < 0;
}

/** How many of some characters are left after all strings in a value; negative as soon as they are used up. */
function roomAfter(value: unknown, chars: number): number {
  if (typeof value === 'string') return chars - value.length;
  if (typeof value !== 'object' || value === null) return chars;
  let room = chars;
  for (const each of Object.values(value)) {
    room = roomAfter(each, room);
    if (room < 0) break;
  }
  return room;
}

/** Takes some tenths of a microsecond for each value in the request, and copies none of them. */
export function measureRequest(request: StreamRequest): MeasuredRequest {
  const identifying = Object.entries(request).filter(([name]) => !optionsOutsideIdentity.has(name));
  const hash = createHash('sha256');
  const writer = new Writer(hash);
  // No variables and an empty record of them are one request.
  writer.value({ ...Object.fromEntries(identifying), variables: request.variables ?? {} });
  writer.flush();
  return { identity: hash.digest('hex'), heldBytes: writer.heldBytes };
}

/** Writes JSON values in a form in which two different values never look alike. */
class Writer {
  #values = 0;
  /** Characters of all strings, keys included. */
  #chars = 0;
  /** Characters of the strings that have one beyond ASCII: V8 may store such a string in two bytes for each character. */
  #wideChars = 0;
  readonly #hash: Hash;
  #pending = '';

  constructor(hash: Hash) {
    this.#hash = hash;
  }

  get heldBytes(): number {
    // The body is one string, so one character beyond ASCII doubles the memory of all of it.
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
      // A caller within the process may pass `undefined`, which JSON leaves out.
      if (value === undefined) continue;
      this.#text(key);
      this.value(value);
    }
    this.#write('}');
  }

  /** Writes the length of a text first, so that no character in it has to be escaped. */
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
