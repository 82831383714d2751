/**
 * The events of AG-UI that an answer becomes, as types of our own: the two dialects in use (0.0.x and 1.0) have packages that don't
 * fit each other, and an app has one of them. Only fields that both dialects know. https://docs.ag-ui.com/concepts/events
 */
import type { ToolCallError } from '../../protocol.ts';

/** Opens a run. The first event of every run. */
export interface AgUiRunStarted {
  type: 'RUN_STARTED';
  /** The conversation. */
  threadId: string;
  /** The run. */
  runId: string;
}

/** The tokens of a run, in AG-UI's own accounting: each count is a total, or a part of one. */
export interface AgUiTokenUsage {
  /** The model that answered. */
  model: string;
  /** All tokens of the request, also those that were read from a cache or written into one. */
  inputTokens: number;
  /** All tokens of the answer. */
  outputTokens: number;
  /** Both together. */
  totalTokens: number;
  /** The part of `inputTokens` that was read from a cache. */
  cachedInputTokens: number;
}

/** Ends a run that is done. */
export interface AgUiRunFinished {
  type: 'RUN_FINISHED';
  /** The conversation. */
  threadId: string;
  /** The run. */
  runId: string;
  /** The `done` event: stop reason, usage, cost and timing, with the generation's id. */
  result: Readonly<Record<string, unknown>>;
  /** Its tokens. */
  usage: AgUiTokenUsage[];
}

/** Ends a run that failed or was cancelled. Nothing follows it. */
export interface AgUiRunError {
  type: 'RUN_ERROR';
  /** For people. */
  message: string;
  /** The code of the error; `abort` for a run that was cancelled. */
  code: string;
  /** Its tokens. */
  usage: AgUiTokenUsage[];
}

/** Another message of the model begins, after the results of its calls. */
export interface AgUiStepStarted {
  type: 'STEP_STARTED';
  /** `step 2` and so on. */
  stepName: string;
}

/** That message is complete. */
export interface AgUiStepFinished {
  type: 'STEP_FINISHED';
  /** As in `STEP_STARTED`. */
  stepName: string;
}

/** Text begins, or goes on after something else. The same message may be opened again after it was closed. */
export interface AgUiTextStart {
  type: 'TEXT_MESSAGE_START';
  /** The message that the text belongs to. */
  messageId: string;
  role: 'assistant';
}

/** A piece of text. */
export interface AgUiTextContent {
  type: 'TEXT_MESSAGE_CONTENT';
  /** The message that the text belongs to. */
  messageId: string;
  /** What this piece adds. */
  delta: string;
}

/** The text is complete, or something else comes first. */
export interface AgUiTextEnd {
  type: 'TEXT_MESSAGE_END';
  /** The message that the text belongs to. */
  messageId: string;
}

/** Opens or closes thinking, or one message of it. */
export interface AgUiReasoningBound {
  /** Which end of which part of it. */
  type: 'REASONING_START' | 'REASONING_MESSAGE_END' | 'REASONING_END';
  /** The message of the thinking. */
  messageId: string;
}

/** Opens a message of thinking. */
export interface AgUiReasoningMessageStart {
  type: 'REASONING_MESSAGE_START';
  /** The message of the thinking. */
  messageId: string;
  role: 'reasoning';
}

/** A piece of thinking. */
export interface AgUiReasoningContent {
  type: 'REASONING_MESSAGE_CONTENT';
  /** The message of the thinking. */
  messageId: string;
  /** What this piece adds. */
  delta: string;
}

/** The signature of thinking, which the next request hands back. */
export interface AgUiReasoningSignature {
  type: 'REASONING_ENCRYPTED_VALUE';
  subtype: 'message';
  /** The message of the thinking; for hidden thinking the message that it precedes. */
  entityId: string;
  /** The signature as upstream made it. */
  encryptedValue: string;
}

/** The model begins to write a call. */
export interface AgUiToolStart {
  type: 'TOOL_CALL_START';
  /** The call. */
  toolCallId: string;
  /** The tool. */
  toolCallName: string;
  /** The message that calls. */
  parentMessageId: string;
}

/** A piece of the JSON of a call's input. */
export interface AgUiToolArgs {
  type: 'TOOL_CALL_ARGS';
  /** The call. */
  toolCallId: string;
  /** What this piece adds. */
  delta: string;
}

/** The input of a call is complete. */
export interface AgUiToolEnd {
  type: 'TOOL_CALL_END';
  /** The call. */
  toolCallId: string;
}

/** The result of a call. */
export interface AgUiToolResult {
  type: 'TOOL_CALL_RESULT';
  /** The message that holds the result. */
  messageId: string;
  /** The call. */
  toolCallId: string;
  role: 'tool';
  /** The output as text: of a text itself, of everything else the JSON; of a call that failed, why. */
  content: string;
  /** Absent where the call has a result. */
  metadata?: AgUiResultMetadata;
}

/** What a message of AG-UI keeps of a call without a result. */
export interface AgUiResultMetadata {
  /** Why there is none. */
  error: ToolCallError;
}

/**
 * What AG-UI has no words for: `llm.start` (the `start` event), `llm.block` (a block that is neither text, thinking nor a call, or the
 * citations of a text), `llm.waiting` (a call that waits for the client), `llm.account` (how a run ended that isn't done).
 */
export interface AgUiCustom {
  type: 'CUSTOM';
  /** Which of them it is. */
  name: 'llm.start' | 'llm.block' | 'llm.waiting' | 'llm.account';
  /** The fields of our own event, with the ids by which AG-UI knows what they are about. */
  value: Readonly<Record<string, unknown>>;
}

/** The events of AG-UI that an answer becomes. */
export type AgUiEvent =
  | AgUiRunStarted
  | AgUiRunFinished
  | AgUiRunError
  | AgUiStepStarted
  | AgUiStepFinished
  | AgUiTextStart
  | AgUiTextContent
  | AgUiTextEnd
  | AgUiReasoningBound
  | AgUiReasoningMessageStart
  | AgUiReasoningContent
  | AgUiReasoningSignature
  | AgUiToolStart
  | AgUiToolArgs
  | AgUiToolEnd
  | AgUiToolResult
  | AgUiCustom;
