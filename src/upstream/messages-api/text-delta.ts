/**
 * Text as it streams in, read from the bytes of its event: nearly all that upstream sends is such events, all alike, and
 * to decode and parse one as JSON costs several times what is in it. Whatever isn't written just so is left to JSON.parse.
 */
import { standsAt } from './sse-parser.ts';

export interface TextDelta {
  readonly index: number;
  readonly text: string;
}

const opening = Buffer.from('{"type":"content_block_delta","index":');
const middle = Buffer.from(',"delta":{"type":"text_delta","text":"');

const zero = 0x30;
const nine = 0x39;
const blank = 0x20;
const quote = 0x22;
const backslash = 0x5c;
const brace = 0x7d;

/** The delta that the bytes from `start` to `end` are; undefined for anything else, and for text with an escape in it. */
export function parseTextDelta(bytes: Buffer, start: number, end: number): TextDelta | undefined {
  if (!standsAt(bytes, start, end, opening)) return undefined;
  let at = start + opening.length;
  // One digit: blocks beyond the tenth are rare, and JSON knows no number that begins with a zero.
  const index = bytes[at]! - zero;
  if (index < 0 || index > nine - zero) return undefined;
  at += 1;
  if (!standsAt(bytes, at, end, middle)) return undefined;
  const from = at + middle.length;
  at = from;
  // What stands below a blank is a control character, which JSON lets in by an escape only.
  while (at < end && bytes[at] !== quote && bytes[at] !== backslash && bytes[at]! >= blank) at += 1;
  const to = at;
  if (bytes[at] !== quote || bytes[at + 1] !== brace) return undefined;
  at += 2;
  // Upstream pads its events here, so that their length tells nothing.
  while (bytes[at] === blank && at < end) at += 1;
  return bytes[at] === brace && at + 1 === end ? { index, text: bytes.toString('utf8', from, to) } : undefined;
}
