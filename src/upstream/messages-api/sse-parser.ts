/**
 * Server-sent events out of bytes, as the HTML standard (9.2.6) has them, cut anywhere. Knows nothing of what events
 * mean. Works on bytes and decodes whole lines only, so a character that is split over two reads stays whole.
 */
import { FailureCause } from '../failures.ts';
import { GrowingText } from './growing-text.ts';

/** One event may hold this much before its blank line comes; more is a failure. */
const eventBytesMax = 8 * 1_024 * 1_024;

/** Room for a partial line: made at least this large, and not kept for the next one if larger than that. */
const keptBytesMin = 1_024;
const keptBytesMax = 64 * 1_024;
/** A name that is longer isn't kept for the next event to be compared with. */
const keptNameBytesMax = 128;
const emptyBuffer = Buffer.alloc(0);

const lf = 0x0a;
const cr = 0x0d;
const colon = 0x3a;
const space = 0x20;

/** Takes an event: its name (empty if it has none) and its data. */
export type SseHandler = (name: string, data: string) => void;
/** Offered the data of an event that is one line and whole, before it is decoded; says whether it took the event. */
export type SseLineHandler = (line: Buffer, start: number, end: number) => boolean;

export interface SseParserOptions {
  readonly onLine?: SseLineHandler;
  /** Told of what keeps a connection alive and is no event: a comment, or a `ping` without data. */
  readonly onKeepAlive?: () => void;
  readonly eventBytesMax?: number;
}

export class SseParser {
  readonly #onEvent: SseHandler;
  readonly #onLine: SseLineHandler;
  readonly #onKeepAlive: () => void;
  readonly #eventBytesMax: number;
  /** Holds the start of a line whose end hasn't come. Grows by doubling, so that many small reads stay cheap. */
  #partial = emptyBuffer;
  #partialBytes = 0;
  /** Bytes of the event that is being read, its partial line included. */
  #eventBytes = 0;
  #name = '';
  #lastName = { bytes: emptyBuffer, text: '' };
  /** Its data, and its data where that has several lines. */
  #data: string | undefined;
  #lines: GrowingText | undefined;
  #atStart = true;
  /** A CR ended the last line, so that an LF right after it belongs to the same line end. */
  #afterCr = false;

  constructor(onEvent: SseHandler, options: SseParserOptions = {}) {
    this.#onEvent = onEvent;
    this.#onLine = options.onLine ?? (() => false);
    this.#onKeepAlive = options.onKeepAlive ?? (() => {});
    this.#eventBytesMax = options.eventBytesMax ?? eventBytesMax;
  }

  /** Bytes that are held until a line or an event ends. */
  get heldBytes(): number {
    return this.#partial.length + this.#eventBytes - this.#partialBytes;
  }

  /**
   * Reads on. An event is told when its blank line comes; what stands before a missing one is never told.
   *
   * @throws FailureCause `event_too_large`; the parser is of no use then.
   */
  push(chunk: Buffer): void {
    let start = 0;
    if (this.#afterCr && chunk.length > 0) {
      this.#afterCr = false;
      if (chunk[0] === lf) start = 1;
    }
    // CRs are rare; where there are none, one native search finds each line's end.
    let nextCr = chunk.indexOf(cr, start);
    for (;;) {
      let end = chunk.indexOf(lf, start);
      let next = end + 1;
      if (nextCr !== -1 && (end === -1 || nextCr < end)) {
        end = nextCr;
        next = end + 1;
        if (next === chunk.length) this.#afterCr = true;
        else if (chunk[next] === lf) next += 1;
        nextCr = chunk.indexOf(cr, next);
      }
      if (end === -1) break;
      this.#line(chunk, start, end, chunk[next] === lf);
      start = next;
    }
    if (start < chunk.length) this.#keep(chunk, start, chunk.length);
  }

  /** `last` says that a blank line follows. */
  #line(chunk: Buffer, start: number, end: number, last: boolean): void {
    if (this.#partialBytes === 0) {
      this.#count(end - start);
      this.#field(chunk, start, end, last);
      return;
    }
    this.#keep(chunk, start, end);
    const line = this.#partial;
    const lineBytes = this.#partialBytes;
    this.#partialBytes = 0;
    if (lineBytes > keptBytesMax) this.#partial = emptyBuffer;
    this.#field(line, 0, lineBytes, false);
  }

  #keep(chunk: Buffer, start: number, end: number): void {
    this.#count(end - start);
    const bytes = this.#partialBytes + end - start;
    if (bytes > this.#partial.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * bytes, keptBytesMin));
      this.#partial.copy(larger, 0, 0, this.#partialBytes);
      this.#partial = larger;
    }
    chunk.copy(this.#partial, this.#partialBytes, start, end);
    this.#partialBytes = bytes;
  }

  #field(line: Buffer, start: number, end: number, last: boolean): void {
    let from = start;
    if (this.#atStart) {
      this.#atStart = false;
      if (line[from] === 0xef && line[from + 1] === 0xbb && line[from + 2] === 0xbf) from += 3;
    }
    if (from >= end) {
      this.#dispatch();
    } else if (startsWith(line, from, end, dataField)) {
      const valueAt = valueStart(line, from + dataField.length, end);
      // What was taken is told already, so that the blank line finds no data to tell.
      if (last && this.#data === undefined && this.#onLine(line, valueAt, end)) return;
      const value = line.toString('utf8', valueAt, end);
      if (this.#data === undefined) this.#data = value;
      else this.#addLine(this.#data, value);
    } else if (startsWith(line, from, end, eventField)) {
      this.#name = this.#nameAt(line, valueStart(line, from + eventField.length, end), end);
    } else if (line[from] === colon) {
      this.#onKeepAlive();
    }
  }

  #addLine(first: string, line: string): void {
    if (!this.#lines) {
      this.#lines = new GrowingText();
      this.#lines.push(first);
    }
    this.#lines.push(`\n${line}`);
  }

  /** Most events of a stream have the name of the one before: to see that costs less than to decode it again. */
  #nameAt(line: Buffer, start: number, end: number): string {
    if (end - start > keptNameBytesMax) return line.toString('utf8', start, end);
    const last = this.#lastName;
    if (end - start !== last.bytes.length || !standsAt(line, start, end, last.bytes)) {
      // A copy, since the line's bytes are not ours.
      const bytes = Buffer.from(line.subarray(start, end));
      this.#lastName = { bytes, text: bytes.toString() };
    }
    return this.#lastName.text;
  }

  #dispatch(): void {
    const name = this.#name;
    const data = this.#lines?.toString() ?? this.#data;
    this.#name = '';
    this.#data = undefined;
    this.#lines = undefined;
    this.#eventBytes = 0;
    if (data !== undefined && data !== '') this.#onEvent(name, data);
    else if (name === 'ping') this.#onKeepAlive();
  }

  #count(bytes: number): void {
    this.#eventBytes += bytes;
    if (this.#eventBytes > this.#eventBytesMax) {
      throw new FailureCause('an event is larger than the limit', { code: 'event_too_large' });
    }
  }
}

const dataField = Buffer.from('data');
const eventField = Buffer.from('event');

/** Whether the bytes at a place, and before `end`, are these. */
export function standsAt(bytes: Buffer, at: number, end: number, expected: Buffer): boolean {
  if (at + expected.length > end) return false;
  for (let offset = 0; offset < expected.length; offset += 1) {
    if (bytes[at + offset] !== expected[offset]) return false;
  }
  return true;
}

/** Whether the line is that field: its name, then a colon or nothing. */
function startsWith(line: Buffer, start: number, end: number, field: Buffer): boolean {
  const after = start + field.length;
  return standsAt(line, start, end, field) && (after === end || line[after] === colon);
}

/** Past the colon and one space after it. */
function valueStart(line: Buffer, afterName: number, end: number): number {
  const value = Math.min(afterName + 1, end);
  return value < end && line[value] === space ? value + 1 : value;
}
