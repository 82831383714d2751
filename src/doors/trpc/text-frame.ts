/**
 * A text message as one WebSocket frame (RFC 6455, section 5.2) in one write; `ws` hands the system the head and the payload as two
 * pieces. A server's frames are not masked. A frame from here may be written between two frames of `ws`: as long as `ws` doesn't
 * compress, it writes each of its frames whole, in one turn. Knows nothing of what a message says.
 */

/** First byte of a frame that is a whole text message. */
const finalText = 0x81;

/** The bytes of a frame. In a string, each character stands for one byte, and the string is written as `latin1`. */
export type TextFrame = string | Buffer;

export function encodeTextFrame(text: string): TextFrame {
  const bytes = Buffer.byteLength(text);
  // ASCII text, which nearly all messages are, needs no buffer.
  if (bytes === text.length) return headOf(bytes) + text;
  const head = headOf(bytes);
  const frame = Buffer.allocUnsafe(head.length + bytes);
  frame.write(head, 'latin1');
  frame.write(text, head.length, 'utf8');
  return frame;
}

/** The head of a frame, one character for each byte. */
function headOf(bytes: number): string {
  if (bytes < 126) return String.fromCharCode(finalText, bytes);
  if (bytes < 2 ** 16) return String.fromCharCode(finalText, 126, bytes >>> 8, bytes & 0xff);
  const high = Math.floor(bytes / 2 ** 32);
  return String.fromCharCode(finalText, 127, ...fourBytes(high), ...fourBytes(bytes));
}

function fourBytes(value: number): number[] {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff);
}
