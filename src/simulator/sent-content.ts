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
        block['text'] = `${String(block['text'] ?? '')}${String(delta['text'])}`;
        break;
      case 'thinking_delta':
        block['thinking'] = `${String(block['thinking'] ?? '')}${String(delta['thinking'])}`;
        break;
      case 'signature_delta':
        block['signature'] = delta['signature'];
        break;
      case 'citations_delta':
        block['citations'] = [...((block['citations'] as unknown[] | null | undefined) ?? []), delta['citation']];
        break;
      case 'input_json_delta':
        this.#json += String(delta['partial_json']);
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

/** The input of a call; null where it is no object, for which clients put something of their own. */
function inputIn(json: string): unknown {
  try {
    const input: unknown = JSON.parse(json);
    return isObject(input) ? input : null;
  } catch {
    return null;
  }
}
