/**
 * Keeps the events of one log in memory: text in runs of many pieces, every other event as its JSON. An object for each
 * token would take twenty times the token's memory. Knows nothing of viewers, and has no bound of its own.
 *
 * The weight that it gives for events is the memory that they take, exact to a few per cent, or a little more than that. V8
 * stores a string with one character beyond Latin-1 in two bytes each, so the first letter beyond ASCII counts once more all
 * the ASCII letters of its run. A letter that has three bytes in UTF-8 counts as three.
 */
import type { LlmEvent } from '../protocol.ts';

/** What a run costs beside its text: the object, the header of its text, the array of its ends, its entry. */
const runOverheadBytes = 208;
/** What a piece of a run costs beside its text: its end. */
const pieceOverheadBytes = 8;
/** Pieces of a run. While a run is open each piece is a string of its own, which takes 24 bytes and more. */
const runPiecesMax = 128;
/** What any other event costs beside its JSON: the header of that, its entry. */
const jsonOverheadBytes = 48;

/** Events that were weighed for a list, and are to be pushed to it. */
export interface Weighed {
  readonly events: readonly LlmEvent[];
  /** At the place of each event that isn't text, its JSON. Undefined where all events are text, which is by far the most frequent. */
  readonly jsons: readonly (string | undefined)[] | undefined;
  readonly bytes: number;
  /**
   * ASCII letters of the last run, counted at one byte each so far. V8 stores all of the run in two bytes a letter after its first
   * letter beyond ASCII, so `weigh` then adds this number once more.
   */
  readonly narrowChars: number;
  /** Whether the last run has a letter beyond ASCII, so that each of its letters takes two bytes. */
  readonly wide: boolean;
}

/** An event of a list. Text has the offset of the last piece that it holds; any other event is its JSON. */
export interface Listed {
  readonly offset: number;
  readonly event: TextEvent | string;
}

type TextEvent = Extract<LlmEvent, { type: 'text' | 'thinking' | 'tool_input' }>;

export class EventList {
  /** How many events there are. */
  length = 0;
  readonly #entries: (TextRun | string)[] = [];
  /** The offset of the first event of each entry. */
  readonly #firsts: number[] = [];
  #narrowChars = 0;
  #wide = false;

  /** Weighs events. The next `push` must be of these. */
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
   * The events from an offset on: at least one, and then as many as fit into `bytesMax`, adjacent text of a block merged.
   * `end` is the first offset that isn't among them.
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

  /** The event at an offset, text as an object and any other event as its JSON. There must be one. */
  at(offset: number): TextEvent | string {
    const at = this.#entryOf(offset);
    const entry = this.#entries[at]!;
    if (typeof entry === 'string') return entry;
    return { type: entry.type, index: entry.index, text: entry.piece(offset - this.#firsts[at]!) };
  }

  /** The JSON of the last event, which must not be text. */
  lastJson(): string {
    return this.#entries.at(-1) as string;
  }

  /** All text, without the thinking and the inputs of calls. */
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

/**
 * Adjacent pieces of one block's text or thinking, or of a call's input. An open run keeps its pieces as strings. A closed run keeps one string, and
 * for each piece the position where it ends.
 */
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

  /** Joins the pieces from index `from` on: as many as fit into `bytesMax`, and at least `piecesMin`. */
  take(from: number, bytesMax: number, piecesMin: number): { text: string; pieces: number; bytes: number } {
    let text = '';
    let bytes = 0;
    let next = from;
    for (; next < this.pieces; next += 1) {
      const piece = this.piece(next);
      const more = Buffer.byteLength(piece);
      if (bytes + more > bytesMax && next - from >= piecesMin) break;
      text += piece;
      bytes += more;
    }
    return { text, pieces: next - from, bytes };
  }

  piece(at: number): string {
    return this.#ends ? this.#text.slice(at === 0 ? 0 : this.#ends[at - 1], this.#ends[at]) : this.#open[at]!;
  }
}

/** Bytes that a text takes in memory by itself. V8 keeps one byte for each letter where all are Latin-1, else two. */
export function heldBytesOf(text: string): number {
  const bytes = Buffer.byteLength(text);
  return bytes === text.length ? bytes : Math.max(bytes, 2 * text.length);
}

function isText(event: LlmEvent): event is TextEvent {
  return event.type === 'text' || event.type === 'thinking' || event.type === 'tool_input';
}

function takesMore(run: TextRun | undefined, { type, index }: TextEvent): run is TextRun {
  return run?.type === type && run.index === index && run.pieces < runPiecesMax;
}

/** Adds text. It is merged with the last event where that is text of the same block, from the run before. */
function merge(events: Listed[], offset: number, more: TextEvent): void {
  const last = events.at(-1)?.event;
  if (typeof last !== 'object' || last.type !== more.type || last.index !== more.index) {
    events.push({ offset, event: more });
  } else {
    events[events.length - 1] = { offset, event: { ...more, text: last.text + more.text } };
  }
}
