/** Makes the ids of conversations, and of the generations that the page asks for. */

/** A UUID. `crypto.randomUUID` exists only on secure pages. https://www.rfc-editor.org/rfc/rfc9562#section-5.4 */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
