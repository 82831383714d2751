/**
 * Bounds on how deep what upstream sends is nested, and on how many values are in it. It is copied, written as JSON and read again on its way to a viewer,
 * in places that call themselves for each level: some four thousand levels are the end of a stack, and of the answer. A value takes some 50 bytes
 * beside what is written, so that a few megabytes of them would become hundreds.
 */
import { excessOf } from '../../json/json-bounds.ts';

const bounds = { valuesMax: 200_000, depthMax: 200 };

/** Costs nothing for JSON that is too short to be nested that deep, as nearly all events are. */
export function exceedsBounds(json: string): boolean {
  return json.length > 2 * bounds.depthMax && excessOf(Buffer.from(json), bounds) !== undefined;
}
