/**
 * The events of a generation, and the ids under which they are sent. Each event stands here twice: as a zod schema, from which
 * the OpenAPI document is made, and as an interface, whose comments editors show. test/types.test-d.ts holds the two equal.
 */
import { z } from 'zod';
import { errorCodes, inputIssueSchema, type ErrorCode, type InputIssue } from './error-data.ts';
import {
  stepSchema,
  toolCallSchema,
  toolInputSchema,
  toolResultSchema,
  toolStartSchema,
  type StepEvent,
  type ToolCallEvent,
  type ToolInputEvent,
  type ToolResultEvent,
  type ToolStartEvent,
} from './tool-events.ts';

/** Sent in every `start` event; rises when a client of the old version would misread an event. */
export const protocolVersion = 1;

const usageSchema = z
  .object({
    inputTokens: z.int(),
    outputTokens: z.int(),
    cacheReadInputTokens: z.int(),
    cacheCreationInputTokens: z.int(),
    estimated: z.boolean().describe('True where a number was inferred, because upstream never said.'),
    raw: z.unknown().describe("Upstream's last usage object as it came; null if none did."),
    serviceTier: z.string().optional().describe("Upstream's `service_tier` of the last attempt, if it named one."),
    speed: z.string().optional().describe("Upstream's `speed` of the last attempt, if it named one."),
  })
  .meta({ id: 'Usage', description: 'Tokens of a generation, summed over its attempts.' });
/** Tokens of a generation, summed over its attempts. */
export interface Usage {
  /** Tokens of the request that were read neither from nor into upstream's cache. */
  inputTokens: number;
  /** Tokens of the answer, hidden thinking included. */
  outputTokens: number;
  /** Tokens of the request that upstream read from its cache. */
  cacheReadInputTokens: number;
  /** Tokens of the request that upstream wrote into its cache. */
  cacheCreationInputTokens: number;
  /** True where at least one of the numbers was inferred, because upstream did not report it. */
  estimated: boolean;
  /** The last usage object that upstream sent, unchanged; null if upstream sent none. */
  raw: unknown;
  /** The `service_tier` that upstream named last; absent if it named none. */
  serviceTier?: string | undefined;
  /** The `speed` that upstream named last; absent if it named none. */
  speed?: string | undefined;
}

const timingSchema = z
  .object({
    firstTokenMs: z.number().nullable().describe('From `startedAt` to the first output; null if there was none.'),
    totalMs: z.number().describe('From `startedAt` to the terminal event.'),
  })
  .meta({ id: 'Timing' });
/** How long a generation took, in milliseconds. */
export interface Timing {
  /** Milliseconds from `startedAt` to the first output; null if there was no output. */
  firstTokenMs: number | null;
  /** Milliseconds from `startedAt` to the terminal event. */
  totalMs: number;
}

const blockIndex = z.int().describe('Index of the content block, as upstream numbers it.');

const accountFields = {
  usage: usageSchema,
  costUsd: z.number().nullable().describe('US dollars; null where the price of the model is unknown.'),
  timing: timingSchema,
  config: z.string(),
  model: z.string(),
};
/** What every terminal event says about the generation that it ends. */
export interface Account {
  /** Tokens, also of a generation that failed or was cancelled. */
  usage: Usage;
  /** Cost in US dollars; null where the price of the model is unknown. */
  costUsd: number | null;
  /** How long the generation took. */
  timing: Timing;
  /** Name of the config that answered: another than in `start` after a fallback. */
  config: string;
  /** Name of the model that answered: another than in `start` after a fallback. */
  model: string;
}

const startSchema = z
  .object({
    type: z.literal('start'),
    generationId: z.string(),
    config: z.string(),
    model: z.string(),
    simulated: z.boolean().describe('True where the built-in simulator answers instead of a model.'),
    startedAt: z.iso.datetime(),
    thread: z.string().optional().describe('The label that the request gave.'),
    protocol: z.literal(protocolVersion),
  })
  .meta({ id: 'StartEvent' });
/** The first event of every generation, sent before upstream has answered. */
export interface StartEvent {
  type: 'start';
  /** The generation's UUID, in lower case: the client's own, or the one that the service made. */
  generationId: string;
  /** Name of the config that was asked for. */
  config: string;
  /** Name of the model that the config names. */
  model: string;
  /** True where the built-in simulator answers instead of a model. */
  simulated: boolean;
  /** When the generation was started, by the service's clock: ISO 8601, in UTC. */
  startedAt: string;
  /** The label with which the generation was started; absent if it was started without one. */
  thread?: string | undefined;
  /** The version of this protocol. */
  protocol: typeof protocolVersion;
}

const textSchema = z
  .object({ type: z.literal('text'), index: blockIndex, text: z.string() })
  .meta({ id: 'TextEvent', description: 'A piece of the answer. Join the pieces of one index in order.' });
/** A piece of the answer's text. A client joins the pieces of one index in order. */
export interface TextEvent {
  type: 'text';
  /** Index of the content block, as upstream numbers it. */
  index: number;
  /** What this piece adds to the text of its block. Several pieces may arrive merged into one event. */
  text: string;
}

const thinkingSchema = z
  .object({ type: z.literal('thinking'), index: blockIndex, text: z.string() })
  .meta({ id: 'ThinkingEvent', description: 'A piece of shown thinking.' });
/** A piece of the model's thinking; only where the config says that thinking is shown. */
export interface ThinkingEvent {
  type: 'thinking';
  /** Index of the content block, as upstream numbers it. */
  index: number;
  /** What this piece adds to the text of its block. Several pieces may arrive merged into one event. */
  text: string;
}

const blockSchema = z
  .object({
    type: z.literal('block'),
    index: blockIndex,
    block: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'BlockEvent', description: 'Any other content block, whole, as upstream sent it.' });
/** Any other content block, whole: the use of a tool, the result of one, citations, a signature, a kind not known yet. */
export interface BlockEvent {
  type: 'block';
  /** Index of the content block, as upstream numbers it. */
  index: number;
  /** The block as upstream sent it, under upstream's own field names. */
  block: Record<string, unknown>;
}

const answerLimits = ['steps', 'cost'] as const;
/** Which limit of a config's `steps` ended the calls of tools. */
export type AnswerLimit = (typeof answerLimits)[number];

const objectStates = ['valid', 'refused', 'cut', 'invalid'] as const;
/**
 * What became of the object that a config with an `output` answers with: it fits its schema, the model refused, the answer was
 * cut short, or it doesn't fit.
 */
export type ObjectState = (typeof objectStates)[number];

const doneSchema = z
  .object({
    type: z.literal('done'),
    stopReason: z.string().nullable(),
    stopSequence: z.string().optional().describe('The stop sequence of the config that ended the answer, if one did.'),
    stopDetails: z.unknown().optional(),
    messageId: z.string().optional().describe("Upstream's id of the last message."),
    upstreamModel: z.string().optional().describe("The model that upstream says it used, where it isn't `model`."),
    container: z.unknown().optional().describe("Upstream's container, where it ran code."),
    contextManagement: z.unknown().optional().describe('What upstream took out of the conversation, if it says so.'),
    steps: z.int().describe('Messages that upstream completed for this answer; 1 without tools.'),
    limit: z.enum(answerLimits).optional().describe('The limit of the config that ended the calls of tools.'),
    object: z
      .enum(objectStates)
      .optional()
      .describe('What became of the object; only where the config has an `output`.'),
    issues: z
      .array(inputIssueSchema as z.ZodType<InputIssue>)
      .optional()
      .describe('What is wrong with an invalid object.'),
    ...accountFields,
  })
  .meta({ id: 'DoneEvent' });
/** The terminal event of an answer that upstream ended. */
export interface DoneEvent extends Account {
  type: 'done';
  /** Upstream's `stop_reason`, such as `end_turn` or `max_tokens`; null if upstream gave none. */
  stopReason: string | null;
  /** The stop sequence of the config that ended the answer; absent if none did. */
  stopSequence?: string | undefined;
  /** Upstream's `stop_details`, unchanged; absent if upstream sent none. */
  stopDetails?: unknown;
  /** Upstream's id of the last message; absent if upstream sent none. */
  messageId?: string | undefined;
  /** The model that upstream says it used; absent where that is `model`, or where upstream names none. */
  upstreamModel?: string | undefined;
  /** Upstream's container, unchanged: where it ran code. A client's request can't name it; a config can. Absent if upstream sent none. */
  container?: unknown;
  /** Upstream's `context_management`, unchanged: what it took out of the conversation; absent if upstream sent none. */
  contextManagement?: unknown;
  /** How many messages upstream completed for this answer: 1 without tools. */
  steps: number;
  /** The limit of the config's `steps` that ended the calls of tools; absent if none did. */
  limit?: AnswerLimit | undefined;
  /** What became of the object; absent where the config has no `output`. */
  object?: ObjectState | undefined;
  /** What is wrong with the object, where `object` is `invalid`. */
  issues?: InputIssue[] | undefined;
}

const cancelReasons = ['requested', 'disconnected', 'shutdown'] as const;
/**
 * Why a generation was cancelled: a client asked for it (`llm.cancel`, or REST's DELETE), no viewer came back in time, or the
 * service shut down.
 */
export type CancelReason = (typeof cancelReasons)[number];
const cancelledSchema = z
  .object({ type: z.literal('cancelled'), reason: z.enum(cancelReasons), ...accountFields })
  .meta({ id: 'CancelledEvent' });
/** The terminal event of a generation that the service ended before upstream did. */
export interface CancelledEvent extends Account {
  type: 'cancelled';
  /** Why the service ended it. */
  reason: CancelReason;
}

const errorSchema = z
  .object({
    type: z.literal('error'),
    code: z.enum(errorCodes),
    message: z.string(),
    retryable: z.boolean(),
    retryAfterMs: z.number().optional(),
    requestId: z.string().optional().describe("Upstream's id of the request that failed."),
    ...accountFields,
  })
  .meta({ id: 'ErrorEvent' });
/** The terminal event of a generation that failed. */
export interface ErrorEvent extends Account {
  type: 'error';
  /** Programs decide by this field; `message` is for people. */
  code: ErrorCode;
  /** What people read. Holds no prompt, key or stack. */
  message: string;
  /** Whether the same request, under a new generationId, can succeed later. */
  retryable: boolean;
  /** How long to wait before that, in milliseconds; absent where upstream did not say. */
  retryAfterMs?: number | undefined;
  /** Upstream's id of the request that failed; absent if upstream gave none. */
  requestId?: string | undefined;
}

const terminalSchemas = [doneSchema, cancelledSchema, errorSchema] as const;
/** The schema of `TerminalEvent`. */
export const terminalEventSchema = z.discriminatedUnion('type', terminalSchemas).meta({ id: 'TerminalEvent' });
/** The schema of `LlmEvent`. */
export const llmEventSchema = z
  .discriminatedUnion('type', [
    startSchema,
    textSchema,
    thinkingSchema,
    blockSchema,
    toolStartSchema,
    toolInputSchema,
    toolCallSchema,
    toolResultSchema,
    stepSchema,
    ...terminalSchemas,
  ])
  .meta({ id: 'LlmEvent' });
/** The last event of a generation. Every generation has exactly one. */
export type TerminalEvent = DoneEvent | CancelledEvent | ErrorEvent;
/** One item of a generation: `start` first, exactly one terminal event last. */
export type LlmEvent =
  | StartEvent
  | TextEvent
  | ThinkingEvent
  | BlockEvent
  | ToolStartEvent
  | ToolInputEvent
  | ToolCallEvent
  | ToolResultEvent
  | StepEvent
  | TerminalEvent;

/** Whether no event follows this one. */
export function isTerminal(event: LlmEvent): event is TerminalEvent {
  return event.type === 'done' || event.type === 'cancelled' || event.type === 'error';
}

/** The id under which a door sends an event. Opaque to clients, who only hand it back. */
export function formatEventId(generationId: string, offset: number): string {
  return `${generationId}:${offset}`;
}

/** Takes an event id apart, whatever the case of its UUID; undefined for a string that no `formatEventId` makes. */
export function parseEventId(id: string): { generationId: string; offset: number } | undefined {
  const match = /^([0-9a-f-]{36}):(0|[1-9]\d{0,9})$/i.exec(id);
  return match ? { generationId: match[1]!.toLowerCase(), offset: Number(match[2]) } : undefined;
}
