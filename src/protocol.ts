/**
 * The wire: what clients send, what they get, and the ids that join the two. PROTOCOL.md tells the same in prose.
 * Knows nothing of transports. Everything else may import this file; it imports zod alone.
 */
import { z } from 'zod';

/** Sent in every `start` event; rises when a client of the old version would misread an event. */
export const protocolVersion = 1;

// ---------------------------------------------------------------------------------------------------------- errors

/** Every code that a client can meet. `errors.ts` holds what follows from each. */
export const errorCodes = [
  'invalid_input',
  'unauthorized',
  'forbidden',
  'config_not_found',
  'generation_not_found',
  'conflict',
  'too_large',
  'rate_limited',
  'at_capacity',
  'shutting_down',
  'upstream_auth',
  'upstream_invalid_request',
  'upstream_rate_limited',
  'upstream_overloaded',
  'upstream_unreachable',
  'upstream_timeout',
  'upstream_truncated',
  'upstream_error',
  'log_limit',
  'producer_lost',
  'internal',
] as const;
export type ErrorCode = (typeof errorCodes)[number];

const inputIssueSchema = z
  .object({
    path: z.string().describe('Where it is: `messages[0].role`, empty for the input itself.'),
    message: z.string().describe('What was expected there.'),
  })
  .meta({ id: 'InputIssue', description: 'One issue of an input.' });
export type InputIssue = Readonly<z.infer<typeof inputIssueSchema>>;

export const errorDataSchema = z
  .object({
    code: z.enum(errorCodes),
    message: z.string(),
    retryable: z.boolean().describe('Whether asking again can help, unchanged and later.'),
    retryAfterMs: z.number().optional(),
    issues: z.array(inputIssueSchema).readonly().optional(),
  })
  .meta({ id: 'ErrorData' });
/** What a refused request carries: `error.data.llm` over tRPC, `error` over REST. */
export type ErrorData = Readonly<z.infer<typeof errorDataSchema>>;

// ---------------------------------------------------------------------------------------------------------- events

const usageSchema = z
  .object({
    inputTokens: z.int(),
    outputTokens: z.int(),
    cacheReadInputTokens: z.int(),
    cacheCreationInputTokens: z.int(),
    estimated: z.boolean().describe('True where a number was inferred, because upstream never said.'),
    raw: z.unknown().describe("Upstream's last usage object as it came; null if none did."),
  })
  .meta({ id: 'Usage', description: 'Tokens of a generation, summed over its attempts.' });
export type Usage = z.infer<typeof usageSchema>;

const timingSchema = z
  .object({
    firstTokenMs: z.number().nullable().describe('From `startedAt` to the first output; null if there was none.'),
    totalMs: z.number().describe('From `startedAt` to the terminal event.'),
  })
  .meta({ id: 'Timing' });

const blockIndex = z.int().describe('Index of the content block, as upstream numbers it.');

/** Shared by the three terminal events. `config` and `model` differ from those of `start` after a fallback. */
const accountFields = {
  usage: usageSchema,
  costUsd: z.number().nullable().describe('US dollars; null where the price of the model is unknown.'),
  timing: timingSchema,
  config: z.string(),
  model: z.string(),
};

const startSchema = z
  .object({
    type: z.literal('start'),
    generationId: z.string(),
    config: z.string(),
    model: z.string(),
    simulated: z.boolean().describe('True where the built-in simulator answers instead of a model.'),
    startedAt: z.iso.datetime(),
    protocol: z.literal(protocolVersion),
  })
  .meta({ id: 'StartEvent' });
const textSchema = z
  .object({ type: z.literal('text'), index: blockIndex, text: z.string() })
  .meta({ id: 'TextEvent', description: 'A piece of the answer. Join the pieces of one index in order.' });
const thinkingSchema = z
  .object({ type: z.literal('thinking'), index: blockIndex, text: z.string() })
  .meta({ id: 'ThinkingEvent', description: 'A piece of shown thinking.' });
const blockSchema = z
  .object({
    type: z.literal('block'),
    index: blockIndex,
    block: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'BlockEvent', description: 'Any other content block, whole, as upstream sent it.' });
const doneSchema = z
  .object({
    type: z.literal('done'),
    stopReason: z.string().nullable(),
    stopSequence: z.string().optional().describe('The stop sequence of the config that ended the answer, if one did.'),
    stopDetails: z.unknown().optional(),
    ...accountFields,
  })
  .meta({ id: 'DoneEvent' });
const cancelReasons = ['requested', 'disconnected', 'shutdown'] as const;
const cancelledSchema = z
  .object({ type: z.literal('cancelled'), reason: z.enum(cancelReasons), ...accountFields })
  .meta({ id: 'CancelledEvent' });
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

/** One item of a generation. Exactly one of `done`, `cancelled`, `error` comes, and it comes last. */
export const llmEventSchema = z
  .discriminatedUnion('type', [
    startSchema,
    textSchema,
    thinkingSchema,
    blockSchema,
    doneSchema,
    cancelledSchema,
    errorSchema,
  ])
  .meta({ id: 'LlmEvent' });
export type LlmEvent = z.infer<typeof llmEventSchema>;
export type StartEvent = z.infer<typeof startSchema>;
export type CancelReason = (typeof cancelReasons)[number];

const terminalSchema = z.discriminatedUnion('type', [doneSchema, cancelledSchema, errorSchema]);
export type TerminalEvent = z.infer<typeof terminalSchema>;
/** What every terminal event says of the generation it ends. */
export type Account = Pick<TerminalEvent, keyof typeof accountFields>;

export function isTerminal(event: LlmEvent): event is TerminalEvent {
  return event.type === 'done' || event.type === 'cancelled' || event.type === 'error';
}

// ------------------------------------------------------------------------------------------------------- event ids

/** The id under which a door sends an event. Opaque to clients, who only ever hand it back. */
export function formatEventId(generationId: string, offset: number): string {
  return `${generationId}:${offset}`;
}

/** Takes an event id apart, whatever the case of its UUID; undefined for a string that never was one. */
export function parseEventId(id: string): { generationId: string; offset: number } | undefined {
  const match = /^([0-9a-f-]{36}):(0|[1-9]\d{0,9})$/i.exec(id);
  return match ? { generationId: match[1]!.toLowerCase(), offset: Number(match[2]) } : undefined;
}

// ---------------------------------------------------------------------------------------------------------- inputs

/** Bounds on what one request may hold. The body's bytes are bounded by the doors. */
export interface InputLimits {
  readonly messagesMax: number;
  readonly blocksPerMessageMax: number;
  readonly blockDepthMax: number;
  readonly variablesMax: number;
  readonly variableCharsMax: number;
}

export const defaultInputLimits: InputLimits = {
  messagesMax: 2_000,
  blocksPerMessageMax: 1_000,
  blockDepthMax: 32,
  variablesMax: 100,
  variableCharsMax: 100_000,
};

/** A content block of a message: any that upstream takes as input, passed on as it is. */
export type ContentBlock = { readonly type: string; readonly [field: string]: unknown };
export interface Message {
  readonly role: 'user' | 'assistant';
  readonly content: string | readonly ContentBlock[];
}

/** What `llm.stream` takes, as it stands on the wire; `StreamInput` in router.ts is the same, typed by config. */
export interface StreamRequest extends Resumable {
  readonly config: string;
  readonly messages: readonly Message[];
  readonly variables?: Readonly<Record<string, string>> | undefined;
  /** A UUID of the client's making; without one, a client that is cut off before `start` starts a second generation. */
  readonly generationId?: string | undefined;
}
export interface FollowRequest extends Resumable {
  readonly generationId: string;
}
/** Which of the caller's generations `llm.generations` lists: a page of them, newest first. */
export interface PageRequest {
  /** How many at most: 1 to 1,000; 100 unless given. */
  readonly limit?: number | undefined;
  /** The generation that the page begins after: the last one of the page before. */
  readonly before?: string | undefined;
}
export interface Resumable {
  /** The id of the last event that was seen. tRPC's links add it by themselves when they reconnect. */
  readonly lastEventId?: string | null | undefined;
}

const pageEntriesMax = 1_000;

/** The input schemas under the given limits. Their refusals are turned into issues by `inputIssues`. */
export function createInputSchemas(limits: InputLimits = defaultInputLimits) {
  const contentBlock = asItCame(z.looseObject({ type: z.string().min(1) }))
    .refine((block) => depthOf(block, limits.blockDepthMax) <= limits.blockDepthMax, {
      error: `nested deeper than ${limits.blockDepthMax} levels`,
    })
    .meta({ id: 'ContentBlock', description: 'Any content block that the Messages API takes as input.' });
  const message = z
    .object({
      role: z.enum(['user', 'assistant']),
      content: z.union([z.string(), z.array(contentBlock).max(limits.blocksPerMessageMax)]),
    })
    .meta({ id: 'Message' });
  // Upper case and lower case are one UUID (RFC 9562, section 4): two spellings of an id are one generation and one bill.
  const generationId = z
    .guid({ error: 'expected a UUID' })
    .toLowerCase()
    .describe('A UUID of the client’s making, in upper or lower case: the idempotency key of the request.');
  const lastEventId = z.string().max(100).nullish();
  const messages = z.array(message).min(1).max(limits.messagesMax);
  const variables = asItCame(
    z
      .record(z.string(), z.string().max(limits.variableCharsMax))
      .refine((record) => Object.keys(record).length <= limits.variablesMax, {
        error: `more than ${limits.variablesMax} variables`,
      }),
  );
  return {
    // Strict, since a misspelt generationId would cost a second generation.
    stream: z.strictObject({
      config: z.string().min(1),
      messages,
      variables: variables.optional(),
      generationId: generationId.optional(),
      lastEventId,
    }),
    follow: z.strictObject({ generationId, lastEventId }),
    generation: z.strictObject({ generationId }),
    generations: z
      .strictObject({ limit: z.int().min(1).max(pageEntriesMax).optional(), before: generationId.optional() })
      .nullish(),
    /**
     * The REST body. Fields that it doesn't know are ignored, as the service before this one did. Its `generationId` is what
     * the header `Idempotency-Key` is: ignored, it would cost whoever expects it there a second generation.
     */
    restBody: z
      .object({ messages, variables: variables.optional(), generationId: generationId.optional() })
      .meta({ id: 'ProcessStreamRequest' }),
    generationId,
  };
}
export type InputSchemas = ReturnType<typeof createInputSchemas>;

/**
 * A schema that judges as the given one does, and gives the value itself: the copies that zod makes of objects lose a key
 * named `__proto__`, which is data like any other.
 */
function asItCame<T>(schema: z.ZodType<T>): z.ZodType<T> {
  const { $schema: _$schema, ...shape } = z.toJSONSchema(schema, { io: 'input' });
  const judge = z.unknown().superRefine((value, context) => {
    for (const issue of schema.safeParse(value).error?.issues ?? []) context.addIssue({ ...issue });
  });
  return judge.meta(shape) as z.ZodType<T>;
}

/** The issues that zod found, with paths as a JavaScript reader writes them: `messages[0].content`. */
export function inputIssues(error: z.core.$ZodError): InputIssue[] {
  return error.issues.flatMap((issue) => flattenIssue(issue, []));
}

/** A refusal lists so many issues, and repeats so much of what was sent. */
const issuesMax = 20;
const issueCharsMax = 300;

/** The first of them, each cut to a bounded length, and how many others there are. */
export function boundedIssues(issues: readonly InputIssue[]): readonly InputIssue[] {
  const first = issues.slice(0, issuesMax).map(({ path, message }) => ({ path: cut(path), message: cut(message) }));
  const left = issues.length - first.length;
  return left === 0 ? first : [...first, { path: '', message: `and ${left} more issues` }];
}

function cut(text: string): string {
  return text.length > issueCharsMax ? `${text.slice(0, issueCharsMax)}…` : text;
}

function flattenIssue(issue: z.core.$ZodIssue, parent: PropertyKey[]): InputIssue[] {
  const path = [...parent, ...issue.path];
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // The branch that got furthest is the one that was meant: content given as an array is judged as an array.
    const depth = (issues: z.core.$ZodIssue[]) => issues.reduce((most, each) => Math.max(most, each.path.length), 0);
    const best = issue.errors.toSorted((a, b) => depth(b) - depth(a))[0]!;
    if (depth(best) > 0) return best.flatMap((each) => flattenIssue(each, path));
    const expected = issue.errors.flatMap((branch) =>
      branch.map((each) => ('expected' in each ? each.expected : each.code)),
    );
    return [{ path: formatPath(path), message: `Invalid input: expected ${expected.join(' or ')}` }];
  }
  return [{ path: formatPath(path), message: issue.message }];
}

/** `['messages', 0, 'role']` as `messages[0].role`. */
export function formatPath(path: readonly PropertyKey[]): string {
  let formatted = '';
  for (const part of path) {
    if (typeof part === 'number') formatted += `[${part}]`;
    else if (/^[A-Za-z_$][\w$]*$/.test(String(part))) formatted += formatted === '' ? String(part) : `.${String(part)}`;
    else formatted += `[${JSON.stringify(String(part))}]`;
  }
  return formatted;
}

/** Levels of nesting, counted no further than one past `max`, so that a hostile value costs nothing. */
function depthOf(value: unknown, max: number): number {
  if (typeof value !== 'object' || value === null) return 0;
  if (max < 0) return 1;
  let deepest = 0;
  for (const child of Object.values(value)) {
    deepest = Math.max(deepest, depthOf(child, max - 1));
    if (deepest > max) break;
  }
  return deepest + 1;
}

// --------------------------------------------------------------------------------------------------------- outputs

export type GenerationState = 'running' | TerminalEvent['type'];

/** A config as clients may know it: never its prompt, keys or URLs. */
export const configSummarySchema = z
  .object({
    name: z.string(),
    description: z.string().optional(),
    model: z.string(),
    maxTokens: z.int(),
    temperature: z.number().optional(),
    variables: z.array(z.string()),
  })
  .meta({ id: 'ConfigSummary' });
export type ConfigSummary = z.infer<typeof configSummarySchema>;

/** One of the caller's generations, as `llm.generations` lists it. */
export interface GenerationSummary {
  generationId: string;
  config: string;
  state: GenerationState;
  lastEventId: string;
  startedAt: string;
  terminal?: TerminalEvent;
}

/** The whole of a generation so far: what `llm.generation` answers. */
export interface GenerationSnapshot extends GenerationSummary {
  /** All text blocks' text, joined. */
  text: string;
}

/** What `llm.cancel` answers as `outcome`. */
export const cancelOutcomes = ['cancelled', 'already_ended'] as const;
export type CancelOutcome = (typeof cancelOutcomes)[number];
