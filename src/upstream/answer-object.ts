/**
 * Judges the object that a config with an `output` answers with. Upstream guarantees its form only where the answer is
 * whole: a refusal and the end of `max_tokens` may break it anywhere. Nothing is repaired.
 */
import type { InputIssue, ObjectState } from '../protocol.ts';
import type { DataSchema } from '../tools/schemas.ts';
import { exceedsBounds } from './messages-api/nesting.ts';
import { wellFormedJson } from './messages-api/well-formed.ts';

/** The fields of `done` about the object. */
export interface JudgedObject {
  readonly object: ObjectState;
  /** Set where the object is invalid. */
  readonly issues?: InputIssue[];
}

/** Stop reasons with which an answer isn't whole, whatever its text looks like: `12` may be the beginning of `123`. */
const cutReasons: ReadonlySet<string | null> = new Set([
  'max_tokens',
  'model_context_window_exceeded',
  'pause_turn',
  'tool_use',
  'compaction',
]);

/** @param text The text of the answer's last text block. */
export async function judgeObject(text: string, stopReason: string | null, schema: DataSchema): Promise<JudgedObject> {
  if (stopReason === 'refusal') return { object: 'refused' };
  if (cutReasons.has(stopReason)) return { object: 'cut' };
  const parsed = exceedsBounds(text) ? invalid('expected JSON with fewer values and levels') : parse(text);
  if ('object' in parsed) return stopReason === 'stop_sequence' ? { object: 'cut' } : parsed;
  const judged = await schema.validate(parsed.value);
  return judged.ok ? { object: 'valid' } : { object: 'invalid', issues: [...judged.issues] };
}

function parse(text: string): { readonly value: unknown } | JudgedObject {
  try {
    return { value: JSON.parse(wellFormedJson(text)) as unknown };
  } catch {
    // The error's message quotes the answer.
    return invalid('expected JSON');
  }
}

function invalid(message: string): JudgedObject {
  return { object: 'invalid', issues: [{ path: '', message }] };
}
