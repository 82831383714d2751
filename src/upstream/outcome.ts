/**
 * How a generation ended, as the fields of its terminal event, without usage and cost. Nothing that upstream wrote is
 * in it unless it is a word of the API or of the config, or was checked against the request.
 */
import type { Config } from '../configs/configs.ts';
import type { LlmError } from '../errors.ts';
import type { CancelReason } from '../protocol.ts';
import type { MessageReader } from './messages-api/message-reader.ts';
import { ownWord } from './upstream-words.ts';

/** The stop reasons of the Messages API. */
const stopReasons: ReadonlySet<string> = new Set([
  'end_turn',
  'max_tokens',
  'stop_sequence',
  'tool_use',
  'pause_turn',
  'refusal',
  'compaction',
  'model_context_window_exceeded',
]);

/**
 * The outcome of a complete message. A stop reason that the API doesn't have may quote the request, so it is checked.
 * Of stop sequences only one of the config's is passed on.
 *
 * @param secretTexts Resolves to all texts that must not be quoted. Called only where the stop reason is not the API's.
 */
export async function doneOutcome(
  { stopReason, stopSequence, stopDetails }: MessageReader,
  config: Config,
  secretTexts: () => Promise<readonly string[]>,
) {
  const known = stopReason === null || stopReasons.has(stopReason);
  return {
    type: 'done' as const,
    stopReason: known ? stopReason : (ownWord(stopReason, await secretTexts()) ?? null),
    ...(stopSequence !== undefined && config.stopSequences?.includes(stopSequence) ? { stopSequence } : {}),
    ...(stopDetails === undefined ? {} : { stopDetails }),
  };
}

export function errorOutcome(error: LlmError) {
  const { issues: _issues, ...data } = error.data;
  return { type: 'error' as const, ...data, ...(error.requestId === undefined ? {} : { requestId: error.requestId }) };
}

/** The outcome of a generation whose signal has aborted. A reason that is no `CancelReason` counts as `requested`. */
export function cancelledOutcome({ reason }: AbortSignal) {
  const known: CancelReason = reason === 'disconnected' || reason === 'shutdown' ? reason : 'requested';
  return { type: 'cancelled' as const, reason: known };
}
