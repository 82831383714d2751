/**
 * The events of one log, as they are kept in memory: text in runs of many pieces, everything else as its JSON. An object
 * for each token would weigh twenty times the token. Knows nothing of viewers, nor of any bound on it.
 *
 * What it says to weigh is what it costs within a few per cent, or more than that: a letter beyond ASCII makes two bytes of
 * each letter of its run, and those of three bytes in UTF-8 count as three.
 */
import type { LlmEvent } from '../protocol.ts';

/** What a run costs beside its text: the object, the header of its text, the array of its ends, its entry. */
const runOverheadBytes = 208;
/** What a piece of a run costs beside its text: its end. */
const pieceOverheadBytes = 8;
/** While a run is open its pieces are strings of their own, of 24 bytes and more; so many of them at most. */
const runPiecesMax = 128;
/** What any other event costs beside its JSON: the header of that, its entry. */
const jsonOverheadBytes = 48;

/** Some events on their way into a list, with what they will cost. */
export interface Weighed {
  readonly events: readonly LlmEvent[];
  /** The JSON of each that is kept as such, at its place; undefined where all are text, as nearly always. */
  readonly jsons: readonly (string | undefined)[] | undefined;
  readonly bytes: number;
  /** Of the run that is open then: letters that were counted as one byte each, for as long as all of them are ASCII. */
  readonly narrowChars: number;
  /** Whether that run has a letter beyond ASCII, so that each of it takes two bytes. */
  readonly wide: boolean;
}

/** An event out of a list: text under the offset of the last piece that is in it, anything else as its JSON. */
export interface Listed {
  readonly offset: number;
  readonly event: TextEvent | string;
}

type TextEvent = Extract<LlmEvent, { type: 'text' | 'thinking' }>;

export class EventList {
  /** How many events there are. */
  length = 0;
  readonly #entries: (TextRun | string)[] = [];
  /** The offset of the first event of each entry. */
  readonly #firsts: number[] = [];
  #narrowChars = 0;
  #wide = false;

  /** To be pushed before anything else is. */
  weigh(events: readonly LlmEvent[]): Weighed {
    let jsons: (string | undefined)[] | undefined;
    let bytes = 0;
    const last = this.#lastRun();
    let type: LlmEvent['type'] | undefined = last?.type;
    let index = last?.index;
    let pieces = last?.pieces ?? 0;
    let narrowChars = this.#narrowChars;
    let wide = this.#wide;
    for (let at = 0; at < events.length; at += 1) {
      const event = events[at]!;
      if (isText(event)) {
        const goesOn = event.type === type && event.index === index && pieces < runPiecesMax;
        ({ type, index } = event);
        pieces = goesOn ? pieces + 1 : 1;
        if (!goesOn) {
          narrowChars = 0;
          wide = false;
          bytes += runOverheadBytes;
        }
        const textBytes = heldBytesOf(event.text);
        const chars = event.text.length;
        bytes += pieceOverheadBytes + (wide ? Math.max(textBytes, 2 * chars) : textBytes);
        if (textBytes === chars) {
          narrowChars += chars;
        } else if (!wide) {
          wide = true;
          bytes += narrowChars;
        }
      } else {
        const json = JSON.stringify(event);
        type = undefined;
        bytes += jsonOverheadBytes + heldBytesOf(json);
        (jsons ??= [])[at] = json;
      }
    }
    return { events, jsons, bytes, narrowChars, wide };
  }

  push({ events, jsons, narrowChars, wide }: Weighed): void {
    this.#narrowChars = narrowChars;
    this.#wide = wide;
    for (let at = 0; at < events.length; at += 1) {
      const event = events[at]!;
      if (isText(event)) {
        let run = this.#lastRun();
        if (!takesMore(run, event)) this.#add((run = new TextRun(event)));
        run.push(event.text);
      } else {
        this.#add(jsons![at]!);
      }
      this.length += 1;
    }
  }

  /**
   * What there is from an offset on, at least one event and then as many as `bytesMax` lets in, adjacent text of a block
   * merged. `end` is the first offset that it leaves.
   */
  slice(from: number, bytesMax: number): { readonly events: readonly Listed[]; readonly end: number } {
    const events: Listed[] = [];
    let room = bytesMax;
    let end = from;
    let at = this.#entryOf(from);
    for (let skipped = from - this.#firsts[at]!; at < this.#entries.length; at += 1, skipped = 0) {
      const entry = this.#entries[at]!;
      if (typeof entry === 'string') {
        const bytes = Buffer.byteLength(entry);
        if (bytes > room && end > from) break;
        room -= bytes;
        end += 1;
        events.push({ offset: end - 1, event: entry });
      } else {
        const { text, pieces, bytes } = entry.take(skipped, room, end === from ? 1 : 0);
        room -= bytes;
        end += pieces;
        if (pieces > 0) merge(events, end - 1, { type: entry.type, index: entry.index, text });
        if (skipped + pieces < entry.pieces) break;
      }
    }
    return { events, end };
  }

  /** The JSON of the last event, which must be kept as such. */
  lastJson(): string {
    return this.#entries.at(-1) as string;
  }

  /** All text, without the thinking. */
  text(): string {
    return this.#entries
      .map((entry) => (typeof entry !== 'string' && entry.type === 'text' ? entry.text : ''))
      .join('');
  }

  #lastRun(): TextRun | undefined {
    const last = this.#entries.at(-1);
    return typeof last === 'object' ? last : undefined;
  }

  #add(entry: TextRun | string): void {
    this.#lastRun()?.close();
    this.#entries.push(entry);
    this.#firsts.push(this.length);
  }

  /** The index of the entry that an offset is in. */
  #entryOf(offset: number): number {
    let low = 0;
    let high = this.#firsts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#firsts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** Adjacent pieces of one block's text or thinking. Closed, they are one string, and where in it each piece ends. */
class TextRun {
  readonly type: TextEvent['type'];
  readonly index: number;
  #open: string[] = [];
  #text = '';
  #ends: readonly number[] | undefined;

  constructor({ type, index }: TextEvent) {
    this.type = type;
    this.index = index;
  }

  get pieces(): number {
    return this.#ends?.length ?? this.#open.length;
  }

  get text(): string {
    return this.#ends ? this.#text : this.#open.join('');
  }

  push(text: string): void {
    this.#open.push(text);
    if (this.#open.length === runPiecesMax) this.close();
  }

  close(): void {
    if (this.#ends) return;
    let end = 0;
    this.#ends = this.#open.map(({ length }) => (end += length));
    this.#text = this.#open.join('');
    this.#open = [];
  }

  /** The pieces from one on that there is room for, and `piecesMin` of them at least, as one. */
  take(from: number, bytesMax: number, piecesMin: number): { text: string; pieces: number; bytes: number } {
    let text = '';
    let bytes = 0;
    let next = from;
    for (; next < this.pieces; next += 1) {
      const piece = this.#piece(next);
      const more = Buffer.byteLength(piece);
      if (bytes + more > bytesMax && next - from >= piecesMin) break;
      text += piece;
      bytes += more;
    }
    return { text, pieces: next - from, bytes };
  }

  #piece(at: number): string {
    return this.#ends ? this.#text.slice(at === 0 ? 0 : this.#ends[at - 1], this.#ends[at]) : this.#open[at]!;
  }
}

/** What a text costs by itself: V8 keeps a byte for each letter if it can, else two. */
function heldBytesOf(text: string): number {
  const bytes = Buffer.byteLength(text);
  return bytes === text.length ? bytes : Math.max(bytes, 2 * text.length);
}

function isText(event: LlmEvent): event is TextEvent {
  return event.type === 'text' || event.type === 'thinking';
}

function takesMore(run: TextRun | undefined, { type, index }: TextEvent): run is TextRun {
  return run?.type === type && run.index === index && run.pieces < runPiecesMax;
}

/** Adds text that may go on where the last event ended: in another run of the same block. */
function merge(events: Listed[], offset: number, more: TextEvent): void {
  const last = events.at(-1)?.event;
  if (typeof last !== 'object' || last.type !== more.type || last.index !== more.index) {
    events.push({ offset, event: more });
  } else {
    events[events.length - 1] = { offset, event: { ...more, text: last.text + more.text } };
  }
}
