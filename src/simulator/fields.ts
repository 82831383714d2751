/** Values of JSON whose form nobody has checked yet. */

/** The fields of an object. */
export type Fields = Readonly<Record<string, unknown>>;

/** Whether it is an object with fields, and no list. */
export function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
