/** Which generation a run of AG-UI is. The door and the agent agree on it, so each finds what the other has begun. */

/** The namespace of the ids below, which no others use: a UUID made once. */
const namespace = '8c6d0f0e-3b1c-4f5e-9d27-6f0a51f0c9ab';

/**
 * The generationId of a run: the run's own id where that is a UUID. Other clients make ids such as `run-1764201600000-k3x9f2`. They
 * become a UUID of version 5, made of the thread and the run, so that the same run is always the same generation of its caller.
 * https://www.rfc-editor.org/rfc/rfc9562#section-5.5
 *
 * @throws TypeError where the id is no UUID, and the runtime has no `crypto.subtle`: on pages that are not secure.
 */
export async function generationIdOf(threadId: string, runId: string): Promise<string> {
  if (isUuid(runId)) return runId.toLowerCase();
  const name = new TextEncoder().encode(JSON.stringify([threadId, runId]));
  const space = Uint8Array.from(namespace.replaceAll('-', '').match(/../g)!, (byte) => parseInt(byte, 16));
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-1', Uint8Array.from([...space, ...name])));
  const bytes = digest.slice(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** Whether a run's id can be the id of its generation. */
export function isUuid(runId: string): boolean {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(runId);
}
