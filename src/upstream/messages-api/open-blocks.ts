/**
 * The content blocks of one message: which are open, which indexes were used, and about how much memory both take.
 * Knows nothing of text, which is emitted as it arrives and kept nowhere.
 */
import { ContentBlock } from './content-block.ts';

/** What V8 takes to remember that an index was used. */
const usedIndexBytes = 32;
/** Kinds of block that call a tool which upstream runs itself. After such a block, silence means that upstream works. */
const callsOfUpstreamsOwn = new Set(['server_tool_use', 'mcp_tool_use']);

export class OpenBlocks {
  readonly #open = new Map<number, ContentBlock>();
  readonly #used = new Set<number>();
  #heldBytes = 0;
  #runsTool = false;

  /** About how many bytes of memory the open blocks and the used indexes take. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Whether upstream is at work: a block is open, or upstream runs a tool of its own. */
  get atWork(): boolean {
    return this.#open.size > 0 || this.#runsTool;
  }

  /** Whether a block with this index has begun, open or not. */
  wasUsed(index: number): boolean {
    return this.#used.has(index);
  }

  /** The open block with this index. */
  get(index: number): ContentBlock | undefined {
    return this.#open.get(index);
  }

  /**
   * Opens a block. `start` is the `content_block` of its `content_block_start`, and belongs to the block from now on.
   */
  open(index: number, kind: string, start: Record<string, unknown>): ContentBlock {
    const block = new ContentBlock(kind, start);
    this.#used.add(index);
    this.#open.set(index, block);
    this.#heldBytes += usedIndexBytes + block.bytes;
    this.#runsTool = false;
    return block;
  }

  /** Merges a delta into an open block. */
  merge(block: ContentBlock, delta: Record<string, unknown>): void {
    const before = block.bytes;
    block.merge(delta);
    this.#heldBytes += block.bytes - before;
  }

  /** Keeps text of an open block, for its `whole`. */
  keep(block: ContentBlock, text: string): void {
    block.keep(text);
    this.#heldBytes += text.length;
  }

  /** Takes the block out; the caller finishes it. */
  close(index: number, block: ContentBlock): void {
    this.#open.delete(index);
    this.#heldBytes -= block.bytes;
    this.#runsTool = callsOfUpstreamsOwn.has(block.kind);
  }

  /** The blocks that are still open, by index, in the order in which they were opened. */
  entries(): Iterable<[number, ContentBlock]> {
    return this.#open;
  }

  /** The message has a stop reason: no tool runs any more. */
  stopTool(): void {
    this.#runsTool = false;
  }

  /** Drops everything. */
  clear(): void {
    this.#open.clear();
    this.#used.clear();
  }
}
