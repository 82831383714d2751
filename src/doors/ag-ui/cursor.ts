/**
 * The ids under which translated events are sent. One event of ours becomes several, and adjacent text merges, so our own ids can't say
 * where a client stands. A cursor is the id of the last event that was sent whole, with what was open after it, and how many of the
 * following events' translations the client has seen: `<event id>~<seen>~<state>`.
 */
import { z } from 'zod';
import { openCallIdCharsMax, openCallsMax, stateAtFirst, type AgUiState } from '../../adapters/ag-ui/encoder.ts';
import { LlmError } from '../../errors.ts';

/** Where a client stands in a translated stream. */
export interface Cursor {
  /** The last event whose translation was sent whole; empty before the first one. */
  readonly id: string;
  /** What was open after it. */
  readonly state: AgUiState;
  /** How many events the client has of what the next event becomes. */
  readonly skip: number;
  /** How often the last event of the stream was sent. */
  readonly repeats: number;
}

export const cursorAtFirst: Cursor = { id: '', state: stateAtFirst, skip: 0, repeats: 0 };

/** Characters of a cursor: more than any that is sent. */
const cursorCharsMax = 4_000;
const countsSchema = z.tuple([z.coerce.number().int().min(0).max(100), z.coerce.number().int().min(0)]);

const stateSchema = z.strictObject({
  open: z.enum(['nothing', 'text', 'thinking']).default('nothing'),
  thinking: z.int().min(0).default(0),
  calls: z
    .array(z.tuple([z.int().min(0), z.string().max(openCallIdCharsMax), z.boolean()]))
    .max(openCallsMax)
    .default([])
    .transform((calls) => calls.map(([index, id, streamed]) => ({ index, id, streamed }))),
  message: z.int().min(1).default(1),
  step: z.int().min(0).default(0),
  next: z.int().min(0).default(0),
  begun: z.boolean().default(false),
  whole: z.boolean().default(true),
});

export function formatCursor({ id, state, skip, repeats }: Cursor): string {
  const cursor = `${id}~${skip}~${textOf(state)}`;
  return repeats === 0 ? cursor : `${cursor}~${repeats}`;
}

/** @throws LlmError `invalid_input` for a text that no `formatCursor` makes. */
export function parseCursor(text: string): Cursor {
  const [id, skip, state, repeats = '0', ...others] = text.length > cursorCharsMax ? [] : text.split('~');
  const counted = countsSchema.safeParse([skip, repeats]);
  const stated = stateSchema.safeParse(jsonOf(state));
  if (id === undefined || others.length > 0 || !counted.success || !stated.success) throw notACursor();
  return { id, state: stated.data, skip: counted.data[0], repeats: counted.data[1] };
}

function notACursor(): LlmError {
  return LlmError.invalidInput([{ path: 'Last-Event-ID', message: 'expected the id of an event of this stream' }]);
}

/** A state stays the same while a text grows, and each of its tokens has an id. */
let last: { readonly state: AgUiState; readonly text: string } | undefined;

function textOf(state: AgUiState): string {
  if (last?.state !== state) last = { state, text: encoded(state) };
  return last.text;
}

/** Only what differs from the beginning, in letters that a header takes. */
function encoded({ calls, ...state }: AgUiState): string {
  const entries = Object.entries(state).filter(([key, value]) => value !== stateAtFirst[key as keyof AgUiState]);
  const open = calls.map(({ index, id, streamed }) => [index, id, streamed]);
  const fields = Object.fromEntries([...entries, ...(open.length === 0 ? [] : [['calls', open]])]) as object;
  return Buffer.from(JSON.stringify(fields)).toString('base64url');
}

function jsonOf(text: string | undefined): unknown {
  try {
    return JSON.parse(Buffer.from(text ?? '', 'base64url').toString());
  } catch {
    return undefined;
  }
}
