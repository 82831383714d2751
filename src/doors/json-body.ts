/** The body of a request, read as JSON. Knows bytes and content types, not what the JSON is for. RFC 8259, section 8.1. */
import type { IncomingMessage } from 'node:http';
import { LlmError } from '../errors.ts';
import type { Hold } from '../access/held-bytes.ts';
import type { BodyPieces } from './body-pieces.ts';
import { excessOf, type JsonBounds } from '../json/json-bounds.ts';

/** Whether a content type names JSON, with whatever parameters. */
export function isJson(contentType: string | undefined): boolean {
  return /^application\/json[\t ]*(;|$)/i.test(contentType ?? '');
}

/** What a body may hold. */
export interface BodyLimits {
  readonly bytesMax: number;
  readonly json: JsonBounds;
  readonly pieces: BodyPieces;
}

const bufferBytesMin = 16 * 1_024;

/**
 * Reads a body whole, into one buffer that grows: a list of pieces would hold some 350 bytes for each, and a client may send
 * it byte by byte. What is over the limit is read on and dropped, since a client that still sends would not see the answer.
 *
 * @param hold Is resized to what the body holds in memory, as it is read.
 * @throws LlmError `too_large`, `invalid_input` (a body that is compressed, too), and what `hold` throws. The rest of the
 *   body is not kept then.
 */
export async function readBody(
  source: IncomingMessage,
  { bytesMax, pieces: allPieces }: Pick<BodyLimits, 'bytesMax' | 'pieces'>,
  hold?: Hold,
): Promise<Buffer> {
  const { 'content-encoding': encoding = 'identity' } = source.headers;
  if (!/^[\t ]*(identity)?[\t ]*$/i.test(encoding)) {
    source.resume();
    throw refusal('Expected a body that is not compressed, found a content-encoding in its head');
  }
  let buffer = Buffer.allocUnsafe(bufferBytesMin);
  let bytes = 0;
  let pieces = 0;
  try {
    await new Promise<void>((resolve, reject) => {
      const take = (piece: Buffer) => {
        pieces += 1;
        bytes += piece.length;
        if (!allPieces.count(pieces, bytes)) {
          // Each piece costs as much work as a kilobyte: this one's sender isn't listened to any more.
          source.destroy();
          return reject(refusal('The body comes in more pieces than its size explains'));
        }
        if (bytes > bytesMax) return;
        try {
          hold?.resize(heldPerByte * bytes);
        } catch (error) {
          source.off('data', take).resume();
          return reject(LlmError.from(error));
        }
        if (bytes > buffer.length) {
          const larger = Buffer.allocUnsafe(Math.min(bytesMax, bytes * 2));
          buffer.copy(larger, 0, 0, bytes - piece.length);
          buffer = larger;
        }
        piece.copy(buffer, bytes - piece.length);
      };
      source.on('data', take);
      source.on('end', resolve);
      source.on('error', reject);
      source.on('close', () => {
        if (!source.readableEnded) reject(new Error('the client left in the middle of its request'));
      });
    });
    if (bytes > bytesMax) throw new LlmError('too_large', `The body is larger than ${bytesMax} bytes`);
    return buffer.subarray(0, bytes);
  } finally {
    // The listeners are the request's for as long as it is answered, and this buffer would be held by them.
    buffer = none;
  }
}

const none = Buffer.alloc(0);
/** The buffer, and the text or the values that are made of it. */
const heldPerByte = 2;

/**
 * The JSON of a body. A byte order mark before it is passed over, since editors and shells of Windows put one there.
 *
 * @throws LlmError `invalid_input` for what is not JSON, with the place where it stops being that but no quotation; and for
 *   what is not UTF-8, or is declared as something else: read as UTF-8 all the same, its letters would reach the model
 *   garbled, and nobody would know why. `too_large` for more values or levels than the bounds allow.
 */
export function parseJsonBody(bytes: Buffer, contentType: string | undefined, bounds: JsonBounds): unknown {
  const charset = /;[\t ]*charset="?([^";\t ]*)/i.exec(contentType ?? '')?.[1]?.toLowerCase();
  if (charset !== undefined && !asUtf8.has(charset)) {
    throw refusal('Expected a body in UTF-8, found another charset in its content-type');
  }
  checkJsonBounds(bytes, bounds);
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw refusal('The body is not valid UTF-8');
  }
  if (/^[\t\n\r ]*$/.test(text)) throw emptyBody();
  try {
    return JSON.parse(text);
  } catch (error) {
    const position = / at position (\d+)/.exec((error as SyntaxError).message)?.[1];
    throw refusal(`The body is not valid JSON${position === undefined ? '' : `, from character ${position} on`}`);
  }
}

export function emptyBody(): LlmError {
  return refusal('The body is empty; expected JSON');
}

/** @throws LlmError `too_large` for JSON of more values or levels than the bounds allow, before any of it is parsed */
export function checkJsonBounds(json: Buffer, bounds: JsonBounds): void {
  const excess = excessOf(json, bounds);
  if (excess === 'values') {
    throw new LlmError('too_large', `The JSON holds more than ${bounds.valuesMax} values`);
  }
  if (excess === 'depth') {
    throw LlmError.invalidInput([{ path: '', message: `the JSON is nested deeper than ${bounds.depthMax} levels` }]);
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });
/** ASCII is UTF-8, too. */
const asUtf8: ReadonlySet<string> = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii']);

function refusal(message: string): LlmError {
  return LlmError.invalidInput([{ path: '', message }]);
}
