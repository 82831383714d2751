/**
 * Reads the text of a `text_delta` from the bytes of its event. Nearly every event of upstream's is one, all are
 * written alike, and parsing one as JSON costs several times as much. An event that is written in any other way is left
 * to JSON.parse.
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

/**
 * Parses the bytes from `start` to `end`. Undefined where they are anything but a `text_delta` whose text has no
 * escapes.
 */
export function parseTextDelta(bytes: Buffer, start: number, end: number): TextDelta | undefined {
  if (!standsAt(bytes, start, end, opening)) return undefined;
  let at = start + opening.length;
  // Only indexes of one digit are read here. Messages with more than ten blocks are rare.
  const index = bytes[at]! - zero;
  if (index < 0 || index > nine - zero) return undefined;
  at += 1;
  if (!standsAt(bytes, at, end, middle)) return undefined;
  const from = at + middle.length;
  at = from;
  // A byte below a blank is a control character, which is not valid in a JSON string.
  while (at < end && bytes[at] !== quote && bytes[at] !== backslash && bytes[at]! >= blank) at += 1;
  const to = at;
  if (bytes[at] !== quote || bytes[at + 1] !== brace) return undefined;
  at += 2;
  // Upstream pads its events with blanks here, so that their length reveals nothing about the text.
  while (bytes[at] === blank && at < end) at += 1;
  return bytes[at] === brace && at + 1 === end ? { index, text: bytes.toString('utf8', from, to) } : undefined;
}
