/**
 * A bound on how deep what upstream sends is nested. It is copied, written as JSON and read again on its way to a viewer,
 * in places that call themselves for each level: some four thousand levels are the end of a stack, and of the answer.
 */
import { excessOf } from '../json-bounds.ts';

const bounds = { valuesMax: Infinity, depthMax: 200 };

/** Costs nothing for JSON that is too short to be nested that deep, as nearly all events are. */
export function isNestedTooDeep(json: string): boolean {
  return json.length > 2 * bounds.depthMax && excessOf(Buffer.from(json), bounds) !== undefined;
}
