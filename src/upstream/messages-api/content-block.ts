/**
 * One content block while it streams in, and what is told of it at its end. Knows the delta kinds of the Messages API,
 * nothing of events or indexes. Upstream's fields stay as they came, kinds and deltas of the future included, but for halves
 * of surrogate pairs.
 */
import { bytesOf } from '../answer-room.ts';
import { GrowingText } from './growing-text.ts';
import { exceedsBounds } from './nesting.ts';
import { wellFormedJson } from './well-formed.ts';

type Fields = Record<string, unknown>;

/** What an open block takes beside what came of it. */
const blockBytes = 512;

export class ContentBlock {
  /** Upstream's name of the block's kind: `text`, `thinking`, `tool_use`, … */
  readonly kind: string;
  readonly #fields: Fields;
  /** About how many bytes of memory it takes. What was replaced is among them: a block doesn't stay open for long. */
  bytes: number;
  #inputJson: GrowingText | undefined;
  #mayHoldHalves = false;

  /** Takes over `start`, the `content_block` of a `content_block_start`. */
  constructor(kind: string, start: Fields) {
    this.kind = kind;
    this.#fields = start;
    this.bytes = blockBytes + bytesOf(start);
  }

  /** To be called if what it is given can hold half of a surrogate pair. The other half may come in a delta, so it is mended at the end. */
  expectHalves(): void {
    this.#mayHoldHalves = true;
  }

  /** Takes any delta but those whose text is told as it comes: `text_delta` in a text block, `thinking_delta` in a thinking one. */
  merge(delta: Fields): void {
    if (delta['type'] === 'input_json_delta') {
      const json = asString(delta['partial_json']);
      (this.#inputJson ??= new GrowingText()).push(json);
      this.bytes += json.length;
      return;
    }
    this.bytes += bytesOf(delta);
    switch (delta['type']) {
      case 'citations_delta': {
        const citations = this.#fields['citations'];
        if (Array.isArray(citations)) citations.push(delta['citation']);
        else this.#fields['citations'] = [delta['citation']];
        return;
      }
      default:
        this.#mergeFields(delta);
    }
  }

  /**
   * The block as it is told at its end. Of a text or thinking block that is what is left beside its text, such as
   * citations and signatures; undefined if nothing is.
   */
  finish(): Fields | undefined {
    const block = this.#assembled();
    return block && this.#mayHoldHalves ? (JSON.parse(wellFormedJson(JSON.stringify(block))) as Fields) : block;
  }

  #assembled(): Fields | undefined {
    const block = this.#inputJson === undefined ? this.#fields : withInput(this.#fields, this.#inputJson.toString());
    if (this.kind !== 'text' && this.kind !== 'thinking') return block;
    const others = Object.entries(block).filter(
      ([name, value]) => name !== this.kind && name !== 'type' && !isEmpty(value),
    );
    return others.length === 0 ? undefined : Object.fromEntries([['type', this.kind], ...others]);
  }

  /** Strings grow by what a delta brings, except those that come whole; everything else is replaced. */
  #mergeFields(delta: Fields): void {
    const comesWhole = delta['type'] === 'signature_delta' || delta['type'] === 'compaction_delta';
    for (const [name, value] of Object.entries(delta)) {
      if (name === 'type') continue;
      const before = Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined;
      const joined = !comesWhole && typeof before === 'string' && typeof value === 'string' ? before + value : value;
      // Not an assignment, since a field may be called `__proto__`.
      Object.defineProperty(this.#fields, name, {
        value: joined,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
  }
}

/** The block with its input assembled; one that was cut short, or is nested too deep or too large, stays text under another name. */
function withInput(block: Fields, json: string): Fields {
  if (json.trim() === '') return block;
  try {
    if (exceedsBounds(json)) throw new RangeError('beyond the bounds');
    return { ...block, input: JSON.parse(wellFormedJson(json)) as unknown };
  } catch {
    const { input: _input, ...others } = block;
    return { ...others, input_json: json };
  }
}

function asString(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function isEmpty(value: unknown): boolean {
  return value === null || value === '' || (Array.isArray(value) && value.length === 0);
}
