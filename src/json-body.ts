/** The body of a request, read as JSON. Knows bytes and content types, not what the JSON is for. RFC 8259, section 8.1. */
import { LlmError } from './errors.ts';

/** Whether a content type names JSON, with whatever parameters. */
export function isJson(contentType: string | undefined): boolean {
  return /^application\/json[\t ]*(;|$)/i.test(contentType ?? '');
}

/**
 * The text of a body; a byte order mark before it is not part of it, since editors and shells of Windows put one there.
 *
 * @throws LlmError `invalid_input` for what is not UTF-8, or is declared as something else: read as UTF-8 all the same, its
 *   letters would reach the model garbled, and nobody would know why.
 */
export function decodeBody(bytes: Uint8Array, contentType: string | undefined): string {
  const charset = /;[\t ]*charset="?([^";\t ]*)/i.exec(contentType ?? '')?.[1]?.toLowerCase();
  if (charset !== undefined && !asUtf8.has(charset)) {
    throw refusal('Expected a body in UTF-8, found another charset in its content-type');
  }
  try {
    return utf8.decode(bytes);
  } catch {
    throw refusal('The body is not valid UTF-8');
  }
}

/** @throws LlmError `invalid_input`, which says where the text stops being JSON, but quotes none of it. */
export function parseJsonBody(text: string): unknown {
  if (/^[\t\n\r ]*$/.test(text)) throw refusal('The body is empty; expected JSON');
  try {
    return JSON.parse(text);
  } catch (error) {
    const position = / at position (\d+)/.exec((error as SyntaxError).message)?.[1];
    throw refusal(`The body is not valid JSON${position === undefined ? '' : `, from character ${position} on`}`);
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });
/** ASCII is UTF-8, too. */
const asUtf8: ReadonlySet<string> = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii']);

function refusal(message: string): LlmError {
  return LlmError.invalidInput([{ path: '', message }]);
}
