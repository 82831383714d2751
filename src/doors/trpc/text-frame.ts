/**
 * A message of text as one WebSocket frame and one write. Knows nothing of what it says. RFC 6455, section 5.2: a server's
 * frames are not masked. `ws` hands the system head and payload as two pieces. What is
 * made here may go to the socket between the frames of `ws`, which leaves none half written unless it compresses.
 */

/** The frame is final and holds text. */
const finalText = 0x81;

/** The bytes of a frame; a string has one of them in each character, to be written as `latin1`. */
export type TextFrame = string | Buffer;

export function encodeTextFrame(text: string): TextFrame {
  const bytes = Buffer.byteLength(text);
  // Plain ASCII, as nearly all is, needs no buffer.
  if (bytes === text.length) return headOf(bytes) + text;
  const head = headOf(bytes);
  const frame = Buffer.allocUnsafe(head.length + bytes);
  frame.write(head, 'latin1');
  frame.write(text, head.length, 'utf8');
  return frame;
}

/** A character for each byte. */
function headOf(bytes: number): string {
  if (bytes < 126) return String.fromCharCode(finalText, bytes);
  if (bytes < 2 ** 16) return String.fromCharCode(finalText, 126, bytes >>> 8, bytes & 0xff);
  const high = Math.floor(bytes / 2 ** 32);
  return String.fromCharCode(finalText, 127, ...fourBytes(high), ...fourBytes(bytes));
}

function fourBytes(value: number): number[] {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff);
}
