/** The content of a message that is being sent, put together as a client puts it together. */
import { isObject } from './fields.ts';
import type { Block, Delta } from './simulator-request.ts';

export class SentContent {
  readonly #blocks: { type: string; [field: string]: unknown }[] = [];
  #json = '';

  start(block: Block): void {
    this.#blocks.push({ ...block });
    this.#json = '';
  }

  add(delta: Delta): void {
    const block = this.#blocks.at(-1);
    if (block === undefined) return;
    switch (delta.type) {
      case 'text_delta':
        block['text'] = joined(block['text'], delta['text']);
        break;
      case 'thinking_delta':
        block['thinking'] = joined(block['thinking'], delta['thinking']);
        break;
      case 'signature_delta':
        block['signature'] = delta['signature'];
        break;
      case 'citations_delta':
        block['citations'] = [...((block['citations'] as unknown[] | null | undefined) ?? []), delta['citation']];
        break;
      case 'input_json_delta':
        this.#json = joined(this.#json, delta['partial_json']);
        break;
    }
  }

  /** The open block is whole. */
  end(): void {
    const block = this.#blocks.at(-1);
    if (block !== undefined && this.#json !== '') block['input'] = inputIn(this.#json);
  }

  get blocks(): readonly Block[] {
    return this.#blocks;
  }
}

/** Each may be absent in a block or a delta that a test has written. */
function joined(text: unknown, more: unknown): string {
  return (typeof text === 'string' ? text : '') + (typeof more === 'string' ? more : '');
}

/** The input of a call; null where it is no object, for which clients put something of their own. */
function inputIn(json: string): unknown {
  try {
    const input: unknown = JSON.parse(json);
    return isObject(input) ? input : null;
  } catch {
    return null;
  }
}
