/**
 * Reads what clients send on superjson's wire as the plain JSON that it is. Of superjson's notes on what JSON can't say
 * only `undefined` is heeded. The others make much out of few bytes (a tree of a billion leaves out of shared references,
 * a gigabyte out of an array's length) or what is no JSON again (a bigint); without them their values are what JSON says.
 */
import superjson, { type SuperJSONResult } from 'superjson';

/** @throws Error if the notes and the JSON don't fit together. */
export function readPlainInput(wire: unknown): unknown {
  if (wire === undefined) return undefined;
  const { json, meta } = wire as { readonly json: null; readonly meta?: { readonly values?: unknown; v?: number } };
  const values = undefinedOnly(meta?.values);
  if (values === undefined) return json;
  return superjson.deserialize({ json, meta: { values, v: meta?.v ?? 0 } }, { inPlace: true });
}

type Notes = NonNullable<NonNullable<SuperJSONResult['meta']>['values']>;

/** A note is a list of one kind, under the path that it is about or, if about the whole, on its own. */
function undefinedOnly(values: unknown): Notes | undefined {
  if (isUndefinedNote(values)) return values;
  if (typeof values !== 'object' || values === null || Array.isArray(values)) return undefined;
  return Object.fromEntries(Object.entries(values).filter(([, note]) => isUndefinedNote(note))) as Notes;
}

function isUndefinedNote(note: unknown): note is ['undefined'] {
  return Array.isArray(note) && note.length === 1 && note[0] === 'undefined';
}
