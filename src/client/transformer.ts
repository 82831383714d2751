/**
 * The service's transformer as a client needs it: superjson's wire without superjson. All that goes either way is plain
 * JSON, so the walk that superjson takes through 1 MB of messages finds nothing, and its refusal of keys named
 * `constructor` or `prototype` would only break the inputs of tools that have them.
 */

/** How values are put on the wire and taken off it: the counterpart of the router's transformer. */
export interface Transformer {
  readonly serialize: (value: unknown) => unknown;
  readonly deserialize: (wire: never) => unknown;
}

export const plainTransformer = {
  serialize: (value) => ({ json: value }),
  deserialize: (wire: { readonly json?: unknown }) => wire.json,
} satisfies Transformer;
