/**
 * The events of a generation whose model calls tools, with their schemas. Each call and each result is one event, so a client
 * that resumes gets each of them once.
 */
import { z } from 'zod';

const blockIndex = z.int().describe('Index of the content block, counted through all steps of the generation.');
const callId = z.string().describe("Upstream's id of the call.");
const toolName = z.string().describe('Name of the tool, as the config has it.');

/** The schema of `ToolStartEvent`. */
export const toolStartSchema = z
  .object({ type: z.literal('tool_start'), index: blockIndex, id: callId, name: toolName })
  .meta({ id: 'ToolStartEvent', description: 'The model has begun to write a call.' });
/** The model has begun to write the call of a tool. Its input follows, whole, in `tool_call`. */
export interface ToolStartEvent {
  type: 'tool_start';
  /** Index of the content block, counted through all steps of the generation. */
  index: number;
  /** Upstream's id of the call. */
  id: string;
  /** Name of the tool, as the config has it. */
  name: string;
}

/** The schema of `ToolInputEvent`. */
export const toolInputSchema = z
  .object({ type: z.literal('tool_input'), index: blockIndex, text: z.string() })
  .meta({ id: 'ToolInputEvent', description: 'A piece of the JSON of a call’s input.' });
/** A piece of the JSON of a call's input, as the model writes it; only for a tool with `stream_input`. */
export interface ToolInputEvent {
  type: 'tool_input';
  /** Index of the content block that the call is. */
  index: number;
  /** What this piece adds to the JSON. Several pieces may arrive merged into one event. The JSON may turn out invalid. */
  text: string;
}

const toolSides = ['service', 'client'] as const;
/** Who executes a tool: the service, or the client that reads the generation. */
export type ToolSide = (typeof toolSides)[number];

/** The schema of `ToolCallEvent`. */
export const toolCallSchema = z
  .object({
    type: z.literal('tool_call'),
    index: blockIndex,
    id: callId,
    name: toolName,
    input: z.unknown().describe('What the model gives to the tool.'),
    by: z.enum(toolSides).describe('Who executes it.'),
    approval: z.literal(true).optional().describe('Set where the service waits for an approval before it executes.'),
  })
  .meta({ id: 'ToolCallEvent', description: 'A call of a tool, whole. In the log before the tool is executed.' });
/** A call of a tool, whole. It is in the log before the tool is executed. */
export interface ToolCallEvent {
  type: 'tool_call';
  /** Index of the content block that the call is. */
  index: number;
  /** Upstream's id of the call. `tool_result` and `llm.resolve` name it. */
  id: string;
  /** Name of the tool, as the config has it. */
  name: string;
  /** What the model gives to the tool. Text where the model wrote no valid JSON. */
  input: unknown;
  /** Who executes it. */
  by: ToolSide;
  /** Set where the service waits for an approval before it executes the tool. */
  approval?: true | undefined;
}

/** Every `ToolErrorCode`. */
export const toolErrorCodes = [
  'failed',
  'timeout',
  'invalid_input',
  'invalid_output',
  'unknown_tool',
  'cancelled',
  'denied',
  'too_large',
] as const;
/** Why a call has no result. */
export type ToolErrorCode = (typeof toolErrorCodes)[number];

const toolErrorSchema = z.object({ code: z.enum(toolErrorCodes), message: z.string() }).meta({ id: 'ToolCallError' });
/** Why a call has no result. */
export interface ToolCallError {
  /** Programs decide by this field. */
  code: ToolErrorCode;
  /** What people and the model read: a fixed text, or the message of a `ToolError`. */
  message: string;
}

const resultFields = { type: z.literal('tool_result'), id: callId, name: toolName };
const toolSuccessSchema = z.object({
  ...resultFields,
  ok: z.literal(true),
  output: z.unknown().optional().describe('The result; absent where the tool does not declare its `output`.'),
});
const toolFailureSchema = z.object({
  ...resultFields,
  ok: z.literal(false),
  error: toolErrorSchema.describe('Why there is no result.'),
});
/** The schema of `ToolResultEvent`. */
export const toolResultSchema = z
  .discriminatedUnion('ok', [toolSuccessSchema, toolFailureSchema])
  .meta({ id: 'ToolResultEvent', description: 'The result of a call, or why there is none.' });
/** The result of a call. */
export interface ToolSuccessEvent {
  type: 'tool_result';
  /** The id of the call. */
  id: string;
  /** Name of the tool, as the config has it. */
  name: string;
  ok: true;
  /** The result. Absent where the tool doesn't declare its `output`: then only the model gets the result. */
  output?: unknown;
}
/** Why a call has no result. */
export interface ToolFailureEvent {
  type: 'tool_result';
  /** The id of the call. */
  id: string;
  /** Name of the tool, as the config has it. */
  name: string;
  ok: false;
  /** Why there is no result. */
  error: ToolCallError;
}
/** The result of a call, or why there is none. */
export type ToolResultEvent = ToolSuccessEvent | ToolFailureEvent;

/** The schema of `StepEvent`. */
export const stepSchema = z
  .object({
    type: z.literal('step'),
    step: z.int().describe('Which step begins, counted from 1.'),
    stopReason: z.string().nullable().describe('Why the step before it stopped.'),
  })
  .meta({
    id: 'StepEvent',
    description: 'Another step begins: one more message of the model. Sent from the second step on.',
  });
/** Another step begins: one more message of the model, after the results of the step before. Sent from the second step on. */
export interface StepEvent {
  type: 'step';
  /** Which step begins, counted from 1. */
  step: number;
  /** Upstream's `stop_reason` of the step before it: `tool_use`, or `pause_turn`. */
  stopReason: string | null;
}
