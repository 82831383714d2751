/**
 * The client's side of the service's transformer: superjson's wire format without superjson. Both sides send plain JSON
 * only. So superjson would walk through 1 MB of messages to find nothing, and its refusal of keys named `constructor`
 * or `prototype` would break tools whose inputs have such keys.
 */

/** Converts values for the wire and back. It must match the router's transformer. */
export interface Transformer {
  /** Converts an input to a value that can be written as JSON. */
  readonly serialize: (value: unknown) => unknown;
  /** Converts a value that was parsed from JSON. */
  readonly deserialize: (wire: never) => unknown;
}

export const plainTransformer = {
  serialize: (value) => ({ json: value }),
  deserialize: (wire: { readonly json?: unknown }) => wire.json,
} satisfies Transformer;
