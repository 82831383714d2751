/**
 * Reads inputs on superjson's wire: plain JSON, and beside it notes on values that JSON lacks. Only notes of `undefined` are followed.
 * Others turn few bytes into much memory (shared references into a tree of a billion leaves, an array's length into a gigabyte), or
 * into a value that is no JSON (a bigint). Without its note, a value is what its JSON says.
 */
import superjson, { type SuperJSONResult } from 'superjson';

/** @throws Error if a note names a path that the JSON doesn't have. */
export function readPlainInput(wire: unknown): unknown {
  if (wire === undefined) return undefined;
  const { json, meta } = wire as { readonly json: null; readonly meta?: { readonly values?: unknown; v?: number } };
  const values = undefinedOnly(meta?.values);
  if (values === undefined) return json;
  return superjson.deserialize({ json, meta: { values, v: meta?.v ?? 0 } }, { inPlace: true });
}

type Notes = NonNullable<NonNullable<SuperJSONResult['meta']>['values']>;

/** The notes of `undefined`. A note is a list with one kind. It stands under the path of its value, or alone if it is about the whole. */
function undefinedOnly(values: unknown): Notes | undefined {
  if (isUndefinedNote(values)) return values;
  if (typeof values !== 'object' || values === null || Array.isArray(values)) return undefined;
  return Object.fromEntries(Object.entries(values).filter(([, note]) => isUndefinedNote(note))) as Notes;
}

function isUndefinedNote(note: unknown): note is ['undefined'] {
  return Array.isArray(note) && note.length === 1 && note[0] === 'undefined';
}
