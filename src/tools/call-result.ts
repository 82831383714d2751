/** The result of a call, or why there is none: as an event for clients, and as a content block for the model. */
import type { ContentBlock, ToolErrorCode, ToolResultEvent } from '../protocol.ts';
import type { ConfigTool, ToolUse } from './tool-set.ts';

/** What became of a call. */
export type CallResult =
  /** `json` is the value as JSON; undefined where the tool gave none. */
  | { readonly ok: true; readonly value: unknown; readonly json: string | undefined }
  | { readonly ok: false; readonly code: ToolErrorCode; readonly message: string };

/** Characters of an error that clients and the model read. */
const messageCharsMax = 4_000;

/** @param message Where it is empty, fixed words take its place: upstream refuses an error without a text. */
export function failed(code: ToolErrorCode, message: string): CallResult {
  const text = message.trim() === '' ? 'The tool failed' : message;
  const bounded = text.length > messageCharsMax ? `${text.slice(0, messageCharsMax)}…` : text;
  return { ok: false, code, message: bounded.toWellFormed() };
}

/** A value as a result. It is written as JSON once: what JSON can't say, nobody gets. */
export function resultOf(value: unknown, bytesMax: number): CallResult {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch {
    return failed('invalid_output', 'The tool gave a result that JSON can’t say');
  }
  if (json !== undefined && Buffer.byteLength(json) > bytesMax) {
    return failed('too_large', `The result is larger than ${bytesMax} bytes`);
  }
  return { ok: true, value: json === undefined ? undefined : JSON.parse(json), json };
}

/** @param name As clients know the tool. */
export function eventOf(
  { id }: ToolUse,
  name: string,
  tool: ConfigTool | undefined,
  result: CallResult,
): ToolResultEvent {
  if (!result.ok) {
    return { type: 'tool_result', id, name, ok: false, error: { code: result.code, message: result.message } };
  }
  const shown = tool?.output !== undefined && result.json !== undefined;
  return { type: 'tool_result', id, name, ok: true, ...(shown ? { output: result.value } : {}) };
}

/** The block that the model reads. Text stays text, and any other value is JSON. */
export function blockOf({ id }: ToolUse, result: CallResult): ContentBlock {
  const block = { type: 'tool_result', tool_use_id: id };
  if (!result.ok) return { ...block, content: result.message, is_error: true };
  if (result.json === undefined) return block;
  return { ...block, content: typeof result.value === 'string' ? result.value : result.json };
}
