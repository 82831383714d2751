/** The body of a request, read as JSON. Knows bytes and content types, not what the JSON is for. RFC 8259, section 8.1. */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
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
  /** Values and levels of its JSON. */
  readonly json: JsonBounds;
  /** Counts the pieces in which bodies arrive. */
  readonly pieces: BodyPieces;
}

/**
 * Judges the credentials in a request's head, before a byte of its body is read. Returns the hold on which the body is counted.
 *
 * @throws LlmError `unauthorized`
 */
export type Admit = (request: IncomingMessage) => Hold;

/** Takes JSON as the only body. Every key in it is data, while fastify's own parser refuses `__proto__` and calls it no JSON. */
export function registerJsonBodies(app: FastifyInstance, body: BodyLimits, admit: Admit): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', async ({ raw, headers }: FastifyRequest) => {
    using held = admit(raw);
    const bytes = await readBody(raw, body, held);
    // Some clients name a content type without sending a body.
    return bytes.length === 0 ? undefined : parseJsonBody(bytes, headers['content-type'], body.json);
  });
}

const bufferBytesMin = 16 * 1_024;

/**
 * Reads a whole body into one buffer, which grows. A list of pieces would hold some 350 bytes for each piece, and a client may send
 * pieces of one byte. A body over the limit is read to its end and dropped: many clients read no response before they have sent all.
 *
 * @param hold It is resized, while the body is read, to the bytes that the body holds in memory.
 * @throws LlmError `too_large`, `invalid_input` (also for a compressed body), and what `hold` throws. Nothing of the body is kept
 *   then.
 */
export async function readBody(
  source: IncomingMessage,
  { bytesMax, pieces: allPieces }: Pick<BodyLimits, 'bytesMax' | 'pieces'>,
  hold?: Hold,
): Promise<Buffer> {
  const { 'content-encoding': encoding = 'identity' } = source.headers;
  if (!/^[\t ]*(identity)?[\t ]*$/i.test(encoding)) {
    allPieces.drop(source);
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
          // Each piece costs as much work as a kilobyte of a larger one, so the connection is closed.
          source.destroy();
          return reject(refusal('The body comes in more pieces than its size explains'));
        }
        if (bytes > bytesMax) return;
        try {
          hold?.resize(heldPerByte * bytes);
        } catch (error) {
          source.off('data', take);
          allPieces.drop(source);
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
      // A client may leave, or write nonsense between two chunks. Neither is an error of the service.
      const breakOff = () => reject(refusal('The body breaks off before its end'));
      source.on('error', breakOff);
      source.on('close', () => {
        if (!source.readableEnded) breakOff();
      });
    });
    if (bytes > bytesMax) throw new LlmError('too_large', `The body is larger than ${bytesMax} bytes`);
    return buffer.subarray(0, bytes);
  } finally {
    // The request keeps its listeners until it is answered, and they would keep this buffer alive.
    buffer = none;
  }
}

const none = Buffer.alloc(0);
/** The buffer, and the text or the values that are made from it. */
const heldPerByte = 2;

/**
 * The JSON of a body. A byte order mark before it is skipped, since editors and shells of Windows write one.
 *
 * @throws LlmError `invalid_input` for a text that is no JSON: the message names the position of the error and quotes nothing. The
 *   same for bytes that are not UTF-8, or are declared as another charset: if they were read as UTF-8, garbled letters would reach
 *   the model, and nobody would know why. `too_large` for more values than the bounds allow.
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

/** @throws LlmError `too_large` for more values than the bounds allow, `invalid_input` for more levels. Parses nothing. */
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
/** Names of UTF-8, and of ASCII, which is a part of it. */
const asUtf8: ReadonlySet<string> = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii']);

function refusal(message: string): LlmError {
  return LlmError.invalidInput([{ path: '', message }]);
}
