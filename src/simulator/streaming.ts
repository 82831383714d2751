/**
 * Streams content blocks as the API does: opens each, sends its deltas, closes it, and ends the message. Knows nothing
 * of faults. The request's `max_tokens` and `stop_sequences` cut a reply that has no stop reason of its own.
 */
import { deltaContent, type Exchange } from './exchange.ts';
import type { Pace } from './pace.ts';
import type { Random } from './random.ts';
import type { Block, Delta } from './simulator-request.ts';
import { charsPerToken, splitIntoDeltas } from './tokens.ts';
import type { MessagesBody } from './validation.ts';

/** Everything that sending a reply needs. */
export interface Stage {
  readonly exchange: Exchange;
  readonly pace: Pace;
  readonly random: Random;
}

/**
 * A text, which is cut into deltas; or the exact deltas. A generator can be sent once, an array to any number of
 * requests.
 */
export type Deltas = string | Iterable<string>;

/**
 * A content block in the form that it has in a whole message: `{type: 'text', text, citations?}`, `{type: 'thinking',
 * thinking, signature}`, `{type: 'tool_use', id, name, input}`, … These kinds are streamed as the API streams them. A
 * block of any other kind is sent whole in its `content_block_start`.
 */
export interface ScriptedBlock extends Block {
  /** The exact deltas. With them, the other fields of the block are sent unchanged in its `content_block_start`. */
  readonly deltas?: readonly Delta[];
}

/** A reply that is a message of these content blocks. */
export interface BlocksReply {
  /** The kind of reply. */
  readonly kind: 'blocks';
  /** The blocks, in order. */
  readonly blocks: readonly ScriptedBlock[];
  /**
   * The stop reason, after all blocks in full. By default the request's limits may cut the blocks, and the stop reason
   * is `max_tokens` or `stop_sequence` where they do, `tool_use` after a tool call, else `end_turn`.
   */
  readonly stopReason?: string;
  /** `stop_details`; null by default. */
  readonly stopDetails?: unknown;
  /** Replaces fields of the usage in `message_delta`. */
  readonly usage?: Readonly<Record<string, unknown>>;
}

/** Streams a whole message, and ends the response. */
export async function streamMessage(stage: Stage, reply: BlocksReply): Promise<void> {
  const cut = await streamBlocks(stage, reply.blocks, reply.stopReason === undefined ? stage.exchange.body : undefined);
  const callsTool = reply.blocks.at(-1)?.type === 'tool_use';
  const stopReason = reply.stopReason ?? cut?.stopReason ?? (callsTool ? 'tool_use' : 'end_turn');
  const { stopDetails, usage } = reply;
  stage.exchange.finish(stopReason, { stopSequence: cut?.stopSequence, stopDetails, usage });
}

/** Starts the message, and streams one text block, which stays open. */
export async function streamText(stage: Stage, text: Deltas): Promise<void> {
  await beginMessage(stage);
  stage.exchange.startBlock();
  await streamDeltas(stage, textDeltas('text', text, stage.random));
}

export async function beginMessage({ exchange, pace }: Stage): Promise<void> {
  exchange.start();
  if (pace.firstTokenMs > 0) await exchange.pause(pace.firstTokenMs);
}

/** Sends deltas of the open block at the stage's pace. Settles when all are sent or the response is over. */
export async function streamDeltas({ exchange, pace }: Stage, deltas: Iterable<Delta>): Promise<void> {
  for (const delta of deltas) {
    exchange.putDelta(delta);
    const wait = pace.step(exchange, deltaContent(delta)?.length ?? 0);
    if (wait !== undefined) await wait;
    if (exchange.over) return;
  }
}

export function* textDeltas(field: 'text' | 'thinking', text: Deltas, random: Random): Generator<Delta> {
  const pieces = typeof text === 'string' ? splitIntoDeltas(text, random) : text;
  for (const piece of pieces) yield { type: `${field}_delta`, [field]: piece };
}

// ---------------------------------------------------------------------------- cutting at max_tokens and stop sequences

/** Where a request's limits cut a block. */
interface Cut {
  charsLeft: number;
  readonly stopReason: 'max_tokens' | 'stop_sequence';
  readonly stopSequence?: string;
  reached: boolean;
}

async function streamBlocks(
  stage: Stage,
  blocks: readonly ScriptedBlock[],
  limits: MessagesBody | undefined,
): Promise<Cut | undefined> {
  const { exchange } = stage;
  await beginMessage(stage);
  let tokensLeft = limits?.max_tokens ?? Infinity;
  for (const block of blocks) {
    if (exchange.over) return undefined;
    const { start, deltas } = streamedForm(block, stage.random);
    if (limits === undefined) {
      exchange.startBlock(start);
      await streamDeltas(stage, deltas);
    } else {
      const stops = block.type === 'text' ? (limits.stop_sequences ?? []) : [];
      // A stop sequence may extend over several deltas, so where there are any they are searched for in the whole
      // block.
      const gathered = stops.length === 0 ? deltas : [...deltas];
      const cut = findCut(gathered, tokensLeft, stops);
      const charsMax = cut.charsLeft;
      exchange.startBlock(start);
      await streamDeltas(stage, withinCut(gathered, cut));
      if (cut.reached) return cut;
      tokensLeft -= Math.ceil((charsMax - cut.charsLeft) / charsPerToken);
    }
    exchange.endBlock();
  }
  return undefined;
}

function findCut(deltas: Iterable<Delta>, tokensLeft: number, stopSequences: readonly string[]): Cut {
  let cut: Cut = { charsLeft: tokensLeft * charsPerToken, stopReason: 'max_tokens', reached: false };
  if (stopSequences.length === 0) return cut;
  const text = Array.from(deltas, deltaContent).join('');
  for (const stopSequence of stopSequences) {
    const at = text.indexOf(stopSequence);
    if (at === -1 || at >= cut.charsLeft) continue;
    cut = { charsLeft: at, stopReason: 'stop_sequence', stopSequence, reached: false };
  }
  return cut;
}

/** The deltas up to the cut, the last one shortened to fit. */
function* withinCut(deltas: Iterable<Delta>, cut: Cut): Generator<Delta> {
  for (const delta of deltas) {
    const content = deltaContent(delta) ?? '';
    if (content.length > cut.charsLeft) {
      cut.reached = true;
      const fitting = wellFormedStart(content, cut.charsLeft);
      if (fitting !== '') yield withContent(delta, fitting);
      return;
    }
    cut.charsLeft -= content.length;
    yield delta;
  }
}

/** The first `charsMax` UTF-16 units; one less where they would end with half of a surrogate pair. */
function wellFormedStart(text: string, charsMax: number): string {
  const lastUnit = text.charCodeAt(charsMax - 1);
  return text.slice(0, lastUnit >= 0xd800 && lastUnit < 0xdc00 ? charsMax - 1 : charsMax);
}

function withContent(delta: Delta, content: string): Delta {
  const field = ['text', 'thinking', 'partial_json'].find((name) => typeof delta[name] === 'string')!;
  return { ...delta, [field]: content };
}

// ------------------------------------------------------------------------------------------------------- the blocks

interface StreamedForm {
  readonly start: Block;
  readonly deltas: Iterable<Delta>;
}

function streamedForm({ deltas, ...block }: ScriptedBlock, random: Random): StreamedForm {
  if (deltas !== undefined) return { start: block, deltas };
  if (block.type === 'text') {
    const { text, citations } = block as Block & { readonly text: Deltas; readonly citations?: readonly unknown[] };
    const quoted = (citations ?? []).map((citation) => ({ type: 'citations_delta', citation }));
    const start = citations === undefined ? { ...block, text: '' } : { ...block, text: '', citations: [] };
    return { start, deltas: chain(quoted, textDeltas('text', text, random)) };
  }
  if (block.type === 'thinking') {
    const { thinking, signature } = block as Block & { readonly thinking: Deltas; readonly signature?: string };
    const signed = signature === undefined ? [] : [{ type: 'signature_delta', signature }];
    const start = { ...block, thinking: '', signature: '' };
    return { start, deltas: chain(textDeltas('thinking', thinking, random), signed) };
  }
  if (block.type.endsWith('tool_use'))
    return { start: { ...block, input: {} }, deltas: inputDeltas(block['input'], random) };
  return { start: block, deltas: [] };
}

function* inputDeltas(input: unknown, random: Random): Generator<Delta> {
  yield { type: 'input_json_delta', partial_json: '' };
  const json = JSON.stringify(input ?? {});
  // For a tool call whose input is `{}`, upstream sends the empty delta only.
  if (json === '{}') return;
  for (const piece of splitIntoDeltas(json, random)) yield { type: 'input_json_delta', partial_json: piece };
}

function* chain<T>(...parts: Iterable<T>[]): Generator<T> {
  for (const part of parts) yield* part;
}
