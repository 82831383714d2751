/** A whole message of the Messages API, put together from the events of its stream. Pure. */
import type { MessageEvent } from './message-events.ts';

type Block = Record<string, unknown>;

/** Takes the events of one message in order. */
export class WholeMessage {
  /** The message so far. Its texts are put in when its blocks end. */
  #message: Record<string, unknown> = {};
  readonly #content: Block[] = [];
  #open: Block = {};
  #inputJson: string | undefined;
  /** Characters that were taken, for whoever counts what is held. */
  chars = 0;

  push(event: MessageEvent): void {
    switch (event.type) {
      case 'message_start':
        this.#message = { ...(event['message'] as object), content: this.#content };
        break;
      case 'content_block_start':
        this.#begin(event['content_block'] as Block);
        break;
      case 'content_block_delta':
        this.#add(event['delta'] as Block);
        break;
      case 'content_block_stop':
        this.#stop();
        break;
      case 'message_delta': {
        const { type: _type, delta, llm, ...fields } = event;
        const known = this.#message['llm'] as object;
        Object.assign(this.#message, delta, fields, { llm: { ...known, ...(llm as object) } });
        break;
      }
      default:
        break;
    }
  }

  get message(): object {
    return this.#message;
  }

  #begin(block: Block): void {
    this.#open = { ...block };
    this.#inputJson = undefined;
    this.#content.push(this.#open);
    // Text comes in deltas; a block that comes whole is counted by its JSON.
    this.chars += JSON.stringify(block).length;
  }

  #add(delta: Block): void {
    const open = this.#open;
    const append = (before: unknown, text: unknown) => {
      this.chars += (text as string).length;
      return `${(before as string | undefined) ?? ''}${text as string}`;
    };
    switch (delta['type']) {
      case 'text_delta':
        open['text'] = append(open['text'], delta['text']);
        break;
      case 'thinking_delta':
        open['thinking'] = append(open['thinking'], delta['thinking']);
        break;
      case 'signature_delta':
        open['signature'] = delta['signature'];
        break;
      case 'citations_delta':
        open['citations'] = [...((open['citations'] as unknown[] | undefined) ?? []), delta['citation']];
        this.chars += JSON.stringify(delta).length;
        break;
      case 'input_json_delta':
        this.#inputJson = append('', delta['partial_json']);
        break;
      default:
        break;
    }
  }

  #stop(): void {
    if (this.#inputJson !== undefined) this.#open['input'] = parsed(this.#inputJson);
  }
}

/** An input that was cut short is no JSON, and stays text. */
function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}
