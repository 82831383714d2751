/**
 * tRPC's wire: how a value is wrapped on its way out, and how an input is read. All that the procedures take and answer is
 * plain JSON, so a value goes out as `{"json": value}`, which superjson's decoder accepts. Knows no procedure and no error.
 */
import superjson from 'superjson';
import { readPlainInput } from './plain-input.ts';

/**
 * superjson's transformer without its walk through each value. The walk would cost time, and superjson refuses to encode an
 * object with a key named `constructor` or `prototype`, which the input of a tool may have
 * (docs/decisions/plain-json-output.md).
 */
export const transformer = {
  input: { serialize: superjson.serialize.bind(superjson), deserialize: readPlainInput },
  output: { serialize: (value: unknown) => ({ json: value }), deserialize: superjson.deserialize.bind(superjson) },
};

/** The same as `transformer.output.serialize`, for a value that is JSON text already. */
export function wrapJson(json: string): string {
  return `{"json":${json}}`;
}
