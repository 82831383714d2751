/**
 * Parses server-sent events (HTML standard, section 9.2.6) from bytes that may be cut anywhere. Knows nothing of what
 * events mean. It decodes only whole lines, so a character that is split over two reads stays whole.
 */
import { FailureCause } from '../failures.ts';
import { GrowingText } from './growing-text.ts';

/** An event with more bytes before its blank line is a failure. */
const eventBytesMax = 8 * 1_024 * 1_024;

/**
 * The buffer for a partial line has at least the first size. It is not kept for the next line if it is larger than the
 * second.
 */
const keptBytesMin = 1_024;
const keptBytesMax = 64 * 1_024;
/** A longer name is not kept for comparison with the next event's name. */
const keptNameBytesMax = 128;
const emptyBuffer = Buffer.alloc(0);

const lf = 0x0a;
const cr = 0x0d;
const colon = 0x3a;
const space = 0x20;

/** Called with an event's name, which is empty where it has none, and its data. */
export type SseHandler = (name: string, data: string) => void;
/**
 * Called with the data of an event whose only data line and blank line are in the same read, before it is decoded.
 * Returns whether it took the event.
 */
export type SseLineHandler = (line: Buffer, start: number, end: number) => boolean;

export interface SseParserOptions {
  readonly onLine?: SseLineHandler;
  /** Called for a comment, and for a `ping` without data: they keep a connection alive and are no events. */
  readonly onKeepAlive?: () => void;
  /** 8 MiB by default. */
  readonly eventBytesMax?: number;
}

export class SseParser {
  readonly #onEvent: SseHandler;
  readonly #onLine: SseLineHandler;
  readonly #onKeepAlive: () => void;
  readonly #eventBytesMax: number;
  /**
   * The beginning of a line whose end hasn't arrived. The buffer grows by doubling, so that many small reads stay
   * cheap.
   */
  #partial = emptyBuffer;
  #partialBytes = 0;
  /** Bytes of the event that is being read, including its partial line. */
  #eventBytes = 0;
  #name = '';
  #lastName = { bytes: emptyBuffer, text: '' };
  /** The event's first data line; all of them where there are several. */
  #data: string | undefined;
  #lines: GrowingText | undefined;
  #atStart = true;
  /**
   * Whether the last line ended with a CR at the end of a read. An LF at the beginning of the next read belongs to it.
   */
  #afterCr = false;

  constructor(onEvent: SseHandler, options: SseParserOptions = {}) {
    this.#onEvent = onEvent;
    this.#onLine = options.onLine ?? (() => false);
    this.#onKeepAlive = options.onKeepAlive ?? (() => {});
    this.#eventBytesMax = options.eventBytesMax ?? eventBytesMax;
  }

  /** Bytes that are kept until their line or event ends. */
  get heldBytes(): number {
    return this.#partial.length + this.#eventBytes - this.#partialBytes;
  }

  /**
   * Parses a chunk. Emits an event when its blank line arrives. An event whose blank line is missing is never emitted.
   *
   * @throws FailureCause `event_too_large`. The parser must not be used afterwards.
   */
  push(chunk: Buffer): void {
    let start = 0;
    if (this.#afterCr && chunk.length > 0) {
      this.#afterCr = false;
      if (chunk[0] === lf) start = 1;
    }
    // CRs are rare. Where the chunk has none, one native search finds the end of each line.
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

  /** @param last Whether a blank line follows in the same chunk. */
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
      // If `onLine` takes the event, the blank line finds no data and emits nothing.
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

  /** Most events have the name of the event before. Comparing the bytes costs less than decoding them again. */
  #nameAt(line: Buffer, start: number, end: number): string {
    if (end - start > keptNameBytesMax) return line.toString('utf8', start, end);
    const last = this.#lastName;
    if (end - start !== last.bytes.length || !standsAt(line, start, end, last.bytes)) {
      // Copied, since the buffer of the line is used for the next read.
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

/** Whether the bytes at `at`, all before `end`, are the expected ones. */
export function standsAt(bytes: Buffer, at: number, end: number, expected: Buffer): boolean {
  if (at + expected.length > end) return false;
  for (let offset = 0; offset < expected.length; offset += 1) {
    if (bytes[at + offset] !== expected[offset]) return false;
  }
  return true;
}

/** Whether the line is this field: its name, and then a colon or the end of the line. */
function startsWith(line: Buffer, start: number, end: number, field: Buffer): boolean {
  const after = start + field.length;
  return standsAt(line, start, end, field) && (after === end || line[after] === colon);
}

/** Where the field's value begins: after the colon, and after one space if there is one. */
function valueStart(line: Buffer, afterName: number, end: number): number {
  const value = Math.min(afterName + 1, end);
  return value < end && line[value] === space ? value + 1 : value;
}
