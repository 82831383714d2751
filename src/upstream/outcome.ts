/**
 * How a generation ended, as the fields of its terminal event, without usage and cost. Nothing that upstream wrote is
 * in it unless it is a word of the API or of the config, or was checked against the request.
 */
import { judgeObject } from './answer-object.ts';
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

/** Ids and models of Anthropic's. */
const plainWord = /^(?:msg_|claude-)[\w.-]{1,100}$/;

/** What a message says of itself, without the words that would have to be compared with the request first. */
export function plainFactsOf(
  { stopReason, about: { id, model } }: MessageReader,
  config: Config,
): { readonly id?: string; readonly model?: string; readonly stopReason?: string } {
  return {
    ...(id !== undefined && plainWord.test(id) ? { id } : {}),
    ...(model !== undefined && (model === config.model || plainWord.test(model)) ? { model } : {}),
    ...(stopReason !== null && stopReasons.has(stopReason) ? { stopReason } : {}),
  };
}

/**
 * The outcome of a complete message. A stop reason that the API doesn't have may quote the request, so it is checked; ids
 * and models of other servers too. Of stop sequences only one of the config's is passed on.
 *
 * @param secretTexts Resolves to all texts that must not be quoted. Called only where the stop reason is not the API's.
 */
export async function doneOutcome(
  { stopReason, about, answerText }: MessageReader,
  config: Config,
  secretTexts: () => Promise<readonly string[]>,
) {
  const checked = async (word: string | undefined, isPlain: (word: string) => boolean) =>
    word === undefined || isPlain(word) ? word : ownWord(word, await secretTexts());
  const messageId = await checked(about.id, (id) => plainWord.test(id));
  const model = await checked(about.model, (name) => name === config.model || plainWord.test(name));
  const { stopSequence, stopDetails, container, contextManagement } = about;
  return {
    type: 'done' as const,
    stopReason: (await checked(stopReason ?? undefined, (reason) => stopReasons.has(reason))) ?? null,
    ...(stopSequence !== undefined && config.stopSequences?.includes(stopSequence) ? { stopSequence } : {}),
    ...(stopDetails === undefined ? {} : { stopDetails }),
    ...(messageId === undefined ? {} : { messageId }),
    ...(model === undefined || model === config.model ? {} : { upstreamModel: model }),
    ...(container === undefined ? {} : { container }),
    ...(contextManagement === undefined ? {} : { contextManagement }),
    ...(config.output ? await judgeObject(answerText ?? '', stopReason, config.output) : {}),
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
