/**
 * The content of one step's message as it came, which the request of the next step repeats, and the calls in it. Makes the
 * events of the calls. Blocks keep their order, their fields and their signatures: upstream binds thinking to everything before
 * it. Knows nothing of how a call is answered.
 */
import type { LlmEvent, ContentBlock as MessageBlock } from '../../protocol.ts';
import type { ToolSet, ToolUse } from '../../tools/tool-set.ts';
import type { ContentBlock } from './content-block.ts';

type Fields = Record<string, unknown>;

export class StepContent {
  /** The blocks of the generation before this step, which the indexes of its events begin with. */
  readonly firstIndex: number;
  /** The calls, in the order in which the model has finished them. */
  readonly calls: ToolUse[] = [];
  readonly #tools: ToolSet | undefined;
  readonly #blocks = new Map<number, Fields>();
  #lastIndex = -1;
  #heldBytes = 0;

  constructor(tools: ToolSet | undefined, firstIndex: number) {
    this.#tools = tools;
    this.firstIndex = firstIndex;
  }

  /** About how many bytes of memory the finished blocks take. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Where the indexes of the next step begin. */
  get nextIndex(): number {
    return this.firstIndex + 1 + this.#lastIndex;
  }

  /** The content for the next request. A text block without text is left out, since upstream refuses it. */
  get content(): readonly MessageBlock[] {
    const inOrder = [...this.#blocks].toSorted(([a], [b]) => a - b).map(([, block]) => block);
    return inOrder.filter(({ type, text }) => type !== 'text' || text !== '') as unknown as MessageBlock[];
  }

  /** Whether the block is the call of a tool that somebody other than upstream answers. */
  isCall({ kind }: ContentBlock): boolean {
    return this.#tools !== undefined && kind === 'tool_use';
  }

  /** The event that a call has begun; undefined where clients get none. */
  started(index: number, block: ContentBlock): LlmEvent | undefined {
    if (!this.isCall(block)) return undefined;
    const [id, name] = [block.field('id')!, block.field('name')!];
    if (this.#tools!.hides(name)) return undefined;
    return { type: 'tool_start', index: this.firstIndex + index, id, name: this.#tools!.shownName(name) };
  }

  /** Whether clients get the call's input while the model writes it. */
  streamsInput(block: ContentBlock): boolean {
    return this.isCall(block) && this.#tools!.streamsInput(block.field('name')!);
  }

  /**
   * Takes a block that is finished, and returns its event; undefined where there is none, or where it is made later: whoever
   * answers a call that waits for a client makes its `tool_call`.
   *
   * @param shown The block as clients get it.
   */
  finished(index: number, block: ContentBlock, shown: Fields | undefined): LlmEvent | undefined {
    const at = this.firstIndex + index;
    this.#lastIndex = Math.max(this.#lastIndex, index);
    this.#heldBytes += block.bytes;
    if (!this.isCall(block)) {
      this.#blocks.set(index, block.whole());
      return shown && { type: 'block', index: at, block: shown };
    }
    const { id, name, input, input_json: unreadable } = shown as { id: string; name: string } & Fields;
    this.#blocks.set(index, repeatable(shown!));
    const call: ToolUse = { index: at, id, name, input: unreadable ?? input };
    this.calls.push(call);
    return this.#tools!.eventOf(call);
  }
}

/** The call as upstream takes it back: with an object as its input, also where the model wrote none. */
function repeatable(call: Fields): Fields {
  const { input_json: unreadable, input, ...others } = call;
  if (unreadable === undefined && typeof input === 'object' && input !== null && !Array.isArray(input)) return call;
  // Upstream's documentation wraps input that is no JSON object in this way.
  return { ...others, input: { INVALID_JSON: typeof unreadable === 'string' ? unreadable : JSON.stringify(input) } };
}
