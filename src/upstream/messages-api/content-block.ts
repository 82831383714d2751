/**
 * Assembles one content block from its start and its deltas. Knows the delta kinds of the Messages API, nothing of
 * events or indexes. Upstream's fields are passed on unchanged, also those of kinds and deltas that are not known here.
 * Only lone halves of surrogate pairs are replaced.
 */
import { bytesOf } from '../answer-room.ts';
import { GrowingText } from './growing-text.ts';
import { exceedsBounds } from './nesting.ts';
import { wellFormedJson } from './well-formed.ts';

type Fields = Record<string, unknown>;

/** About how many bytes an open block takes besides its fields. */
const blockBytes = 512;

export class ContentBlock {
  /** Upstream's name of the block's kind: `text`, `thinking`, `tool_use`, … */
  readonly kind: string;
  readonly #fields: Fields;
  /**
   * About how many bytes of memory it takes. Values that later deltas replaced stay counted, since a block is open only
   * briefly.
   */
  bytes: number;
  #inputJson: GrowingText | undefined;
  /** Text or thinking that was kept of its deltas. */
  #keptText: GrowingText | undefined;
  #mayHoldHalves = false;

  /**
   * @param start The `content_block` of a `content_block_start`. It belongs to the block from now on, which changes it.
   */
  constructor(kind: string, start: Fields) {
    this.kind = kind;
    this.#fields = start;
    this.bytes = blockBytes + bytesOf(start);
  }

  /**
   * To be called if a field of the start or of a delta can contain half of a surrogate pair. The other half may be in a
   * later delta, so lone halves are replaced at the end.
   */
  expectHalves(): void {
    this.#mayHoldHalves = true;
  }

  /** Keeps the text of a `text_delta` or a `thinking_delta`, for `whole`. */
  keep(text: string): void {
    (this.#keptText ??= new GrowingText()).push(text);
    this.bytes += text.length;
  }

  /** A text of the block's start, such as its `id`; undefined where it has none. */
  field(name: string): string | undefined {
    const value = this.#fields[name];
    return typeof value === 'string' ? value : undefined;
  }

  /**
   * Merges a delta. `text_delta` in a text block and `thinking_delta` in a thinking block are not merged: their text is
   * emitted at once.
   */
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
   * The whole block, for its `block` event. Of a text or thinking block, whose text has been emitted, only the other
   * fields, such as citations and signatures; undefined where it has none.
   */
  finish(): Fields | undefined {
    const block = this.#assembled();
    return block && this.#mayHoldHalves ? (JSON.parse(wellFormedJson(JSON.stringify(block))) as Fields) : block;
  }

  /** The whole block, its text included where that was kept. */
  whole(): Fields {
    if (this.#keptText === undefined) return this.#withInput();
    return { ...this.#fields, [this.kind]: asString(this.#fields[this.kind]) + this.#keptText.toString() };
  }

  #withInput(): Fields {
    return this.#inputJson === undefined ? this.#fields : withInput(this.#fields, this.#inputJson.toString());
  }

  #assembled(): Fields | undefined {
    const block = this.#withInput();
    if (this.kind !== 'text' && this.kind !== 'thinking') return block;
    const others = Object.entries(block).filter(
      ([name, value]) => name !== this.kind && name !== 'type' && !isEmpty(value),
    );
    return others.length === 0 ? undefined : Object.fromEntries([['type', this.kind], ...others]);
  }

  /**
   * A string of the delta is added to the block's string, except in the two delta kinds that bring whole strings. Any
   * other value replaces the block's.
   */
  #mergeFields(delta: Fields): void {
    const comesWhole = delta['type'] === 'signature_delta' || delta['type'] === 'compaction_delta';
    for (const [name, value] of Object.entries(delta)) {
      if (name === 'type') continue;
      const before = Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined;
      const joined = !comesWhole && typeof before === 'string' && typeof value === 'string' ? before + value : value;
      // Not an assignment, which would set the prototype where a field is called `__proto__`.
      Object.defineProperty(this.#fields, name, {
        value: joined,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
  }
}

/**
 * The block with its input parsed. Input that was cut off, or that exceeds a bound, stays text, in the field
 * `input_json`.
 */
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
