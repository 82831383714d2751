/**
 * Bounds on the depth of upstream's JSON and on the number of its values. On its way to a viewer it is copied, written
 * as JSON and parsed again by functions that call themselves for each level, and about four thousand levels overflow
 * the stack. A value takes about 50 bytes more than its text, so a few megabytes of small values would become hundreds.
 */
import { excessOf } from '../../json/json-bounds.ts';

const bounds = { valuesMax: 200_000, depthMax: 200 };

/** Costs nothing for JSON that is too short to exceed a bound, as nearly all events are. */
export function exceedsBounds(json: string): boolean {
  return json.length > 2 * bounds.depthMax && excessOf(Buffer.from(json), bounds) !== undefined;
}
