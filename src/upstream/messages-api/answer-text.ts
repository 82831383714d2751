/**
 * The text of an answer whose config has an `output`: that of the message's last text block, since before a call of one of
 * its own tools upstream may write another. Kept only for such configs; the log has it too, but in pieces.
 */
import { GrowingText } from './growing-text.ts';

export class AnswerText {
  #index = -1;
  #text = new GrowingText();
  #chars = 0;

  /** About how many bytes of memory the text takes, where all of it is Latin-1. */
  get heldBytes(): number {
    return this.#chars;
  }

  push(index: number, text: string): void {
    if (index !== this.#index) {
      this.#index = index;
      this.#text = new GrowingText();
      this.#chars = 0;
    }
    this.#text.push(text);
    this.#chars += text.length;
  }

  /** Whether this block has text. */
  has(index: number): boolean {
    return this.#index === index;
  }

  toString(): string {
    return this.#text.toString();
  }
}
