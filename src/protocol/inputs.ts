/**
 * What clients send. Each option of a request stands in one table: its schema, whether it is part of the request's identity,
 * and where REST takes it from. The schemas of every door, and the identity, are made from that table.
 */
import { z } from 'zod';

/** Bounds on what one request may hold. The doors bound the bytes of its body. */
export interface InputLimits {
  /** Messages of a request. */
  readonly messagesMax: number;
  /** Content blocks of one message. */
  readonly blocksPerMessageMax: number;
  /** Levels of nesting in one content block. */
  readonly blockDepthMax: number;
  /** Variables of a request. */
  readonly variablesMax: number;
  /** Characters of the value of one variable. */
  readonly variableCharsMax: number;
}

/** The bounds of a service whose settings name no others. */
export const defaultInputLimits: InputLimits = {
  messagesMax: 2_000,
  blocksPerMessageMax: 1_000,
  blockDepthMax: 32,
  variablesMax: 100,
  variableCharsMax: 100_000,
};

/** A content block of a message: any block that upstream takes as input. The service passes it on unchanged. */
export interface ContentBlock {
  /** Upstream's name for the kind of block, such as `text` or `image`. */
  readonly type: string;
  /** The fields of a block of that kind, as the Messages API has them. */
  readonly [field: string]: unknown;
}

/** One message of a conversation. */
export interface Message {
  /** Who wrote it. With `system` it is an instruction that holds from there on; the first message is the user's. */
  readonly role: 'user' | 'assistant' | 'system';
  /** Its text, or its content blocks. */
  readonly content: string | readonly ContentBlock[];
}

/** The cursor of a client that comes back. */
export interface Resumable {
  /** The id of the last event that the client has seen; events after it follow. tRPC's links send it when they reconnect. */
  readonly lastEventId?: string | null | undefined;
}

/** The options of `llm.stream`, with any config name. `StreamInput` is the same with the literal names of given configs. */
export interface StreamRequest extends Resumable {
  /** Name of the config that answers. */
  readonly config: string;
  /** The conversation so far, at least one message. */
  readonly messages: readonly Message[];
  /** Exactly the variables of the config's prompt, by name. */
  readonly variables?: Readonly<Record<string, string>> | undefined;
  /**
   * A UUID that the client makes: the idempotency key of the request. Without one the service makes it, and a client that is
   * cut off before `start` starts a second generation when it asks again.
   */
  readonly generationId?: string | undefined;
  /**
   * A label of 1 to 200 characters, such as a chat's id, that the caller's generations may share. It finds the newest generation of a
   * chat. A request that attaches with another one changes nothing: a generation keeps the label that it was started with.
   */
  readonly thread?: string | undefined;
  /** The trace that the request belongs to, where no header can say it: https://www.w3.org/TR/trace-context/ */
  readonly traceparent?: string | undefined;
}

/** The input of `llm.follow`: a generation, or the newest one of a thread. */
export type FollowRequest = Resumable & {
  /** As that of `llm.stream`. */
  readonly traceparent?: string | undefined;
} & (
    | {
        /** The generation to follow. */
        readonly generationId: string;
        /** Never beside a `generationId`. */
        readonly thread?: undefined;
      }
    | {
        /** The thread whose newest generation to follow; beside a `lastEventId`, the generation of that event. */
        readonly thread: string;
        /** Never beside a `thread`. */
        readonly generationId?: undefined;
      }
  );

/** The input of `llm.generations`: which page of the caller's generations, newest first. */
export interface PageRequest {
  /** How many at most: 1 to 1,000; 100 unless given. */
  readonly limit?: number | undefined;
  /** Lists only generations that were started before this one: the id of the last one of the page before. */
  readonly before?: string | undefined;
  /** Lists only generations that were started with this label. */
  readonly thread?: string | undefined;
}

/** What a client answers to a call that waits for it: a result, why there is none, or whether the call may be executed. */
export type CallAnswer = {
  /** The id of the call, as its `tool_call` has it. */
  readonly id: string;
} & (
  | {
      /** The result. It must fit the tool's `output`. */
      readonly output: unknown;
    }
  | {
      /** Why there is none. The model reads it. */
      readonly error: string;
    }
  | {
      /** Whether the service may execute the call. */
      readonly approved: boolean;
      /** Why it may not. The model reads it. */
      readonly reason?: string | undefined;
    }
);

/** The input of `llm.resolve`. */
export interface ResolveRequest {
  /** The generation whose calls they are. */
  readonly generationId: string;
  /** The answers. Either all of them are taken, or none. */
  readonly results: readonly CallAnswer[];
}

/** What the service does with one option of a request. */
interface RequestOption {
  readonly schema: z.ZodType;
  /**
   * Whether requests that differ in this option are different requests, so that the second under one generationId is a
   * `conflict`. False for the options that only say which generation is meant, how its caller finds it, and from where to read it.
   */
  readonly identifies: boolean;
  /** Where `POST /api/llm/process_stream/:config` takes it from. */
  readonly rest: 'path' | 'body' | 'cursor' | 'header';
}

const lastEventIdCharsMax = 100;
const threadCharsMax = 200;
/** Version 00 has 55 characters, and later ones may have more. */
const traceparentCharsMax = 256;
const pageEntriesMax = 1_000;
/** Answers of one request. A message of the model may have as many calls. */
const answersMax = 100;
const callIdCharsMax = 200;
/** Characters of an error or a reason. */
const reasonCharsMax = 4_000;

/** Every option of a request, under the given limits. */
function requestOptions(limits: InputLimits) {
  const contentBlock = judged(z.looseObject({ type: z.string().min(1) }))
    .refine((block) => depthOf(block, limits.blockDepthMax) <= limits.blockDepthMax, {
      error: `nested deeper than ${limits.blockDepthMax} levels`,
    })
    .meta({ id: 'ContentBlock', description: 'Any content block that the Messages API takes as input.' });
  const message = z
    .object({
      role: z.enum(['user', 'assistant', 'system']),
      content: z.union([z.string(), z.array(contentBlock).max(limits.blocksPerMessageMax)]),
    })
    .meta({ id: 'Message' });
  const variables = judged(
    z
      .record(z.string(), z.string().max(limits.variableCharsMax))
      .refine((record) => Object.keys(record).length <= limits.variablesMax, {
        error: `more than ${limits.variablesMax} variables`,
      }),
  );
  return {
    config: { schema: z.string().min(1), identifies: true, rest: 'path' },
    messages: { schema: z.array(message).min(1).max(limits.messagesMax), identifies: true, rest: 'body' },
    variables: { schema: variables.optional(), identifies: true, rest: 'body' },
    // REST takes it from the header `Idempotency-Key` as well. Without it in the body's schema, a client that expects it there
    // would pay for a second generation.
    generationId: { schema: generationIdSchema.optional(), identifies: false, rest: 'body' },
    thread: { schema: threadSchema.optional(), identifies: false, rest: 'body' },
    lastEventId: { schema: z.string().max(lastEventIdCharsMax).nullish(), identifies: false, rest: 'cursor' },
    // By the standard, a value that can't be read is ignored.
    traceparent: { schema: z.string().max(traceparentCharsMax).optional(), identifies: false, rest: 'header' },
  } as const satisfies Record<keyof StreamRequest, RequestOption>;
}

/** Upper case and lower case are one UUID (RFC 9562, section 4), so two spellings of an id are one generation and one bill. */
const generationIdSchema = z
  .guid({ error: 'expected a UUID' })
  .toLowerCase()
  .describe('A UUID of the client’s making, in upper or lower case: the idempotency key of the request.');

const threadSchema = z
  .string()
  .min(1)
  .max(threadCharsMax)
  .describe('A label of the client’s making, such as a chat’s id, that its generations may share.');

const callAnswerSchema = z
  .strictObject({
    id: z.string().min(1).max(callIdCharsMax).describe('The id of the call.'),
    output: z.unknown().optional().describe('The result of a tool that the client answers.'),
    error: z.string().max(reasonCharsMax).optional().describe('Why there is no result. The model reads it.'),
    approved: z.boolean().optional().describe('Whether the service may execute a call that waits for an approval.'),
    reason: z.string().max(reasonCharsMax).optional().describe('Why it may not. The model reads it.'),
  })
  .superRefine((answer, context) => {
    const given = ['output', 'error', 'approved'].filter((name) => name in answer);
    if (given.length !== 1) {
      context.addIssue({
        code: 'custom',
        message: `expected one of output, error and approved, found ${given.join(', ') || 'none'}`,
      });
    } else if ('reason' in answer && !('approved' in answer)) {
      context.addIssue({ code: 'custom', path: ['reason'], message: 'expected only beside approved' });
    }
  })
  .meta({
    id: 'CallAnswer',
    description: 'The answer to a call that waits for the client: exactly one of `output`, `error` and `approved`.',
  }) as z.ZodType<CallAnswer>;
const callAnswersSchema = z.array(callAnswerSchema).min(1).max(answersMax).readonly();

/** The options that are no part of a request's identity. Every other field of a request is, also one that the table lacks. */
export const optionsOutsideIdentity: ReadonlySet<string> = new Set(
  Object.entries(requestOptions(defaultInputLimits)).flatMap(([name, option]) => (option.identifies ? [] : [name])),
);

type Options = ReturnType<typeof requestOptions>;
type SchemasOf<Names extends keyof Options> = { -readonly [Name in Names]: Options[Name]['schema'] };
type BodyOption = { [Name in keyof Options]: Options[Name]['rest'] extends 'body' ? Name : never }[keyof Options];

/** The input schemas under the given limits. `inputIssues` turns their refusals into issues. */
export function createInputSchemas(limits: InputLimits = defaultInputLimits) {
  const options = Object.entries<RequestOption>(requestOptions(limits));
  const schemasOf = <Names extends keyof Options>(chosen: typeof options) =>
    Object.fromEntries(chosen.map(([name, { schema }]) => [name, schema])) as SchemasOf<Names>;
  // Strict, since a misspelt generationId would cost a second generation.
  const stream = z.strictObject(schemasOf<keyof Options>(options));
  const { lastEventId, traceparent } = stream.shape;
  return {
    stream,
    follow: z
      .strictObject({
        generationId: generationIdSchema.optional(),
        thread: threadSchema.optional(),
        lastEventId,
        traceparent,
      })
      .superRefine(({ generationId, thread }, context) => {
        if ((generationId === undefined) !== (thread === undefined)) return;
        const message = generationId === undefined ? 'expected a UUID, or a thread' : 'expected only without a thread';
        context.addIssue({ code: 'custom', path: ['generationId'], message });
      }) as z.ZodType<FollowRequest>,
    generation: z.strictObject({ generationId: generationIdSchema }),
    generations: z
      .strictObject({
        limit: z.int().min(1).max(pageEntriesMax).optional(),
        before: generationIdSchema.optional(),
        thread: threadSchema.optional(),
      })
      .nullish(),
    resolve: z.strictObject({
      generationId: generationIdSchema,
      results: callAnswersSchema,
    }) as z.ZodType<ResolveRequest>,
    /** The body of REST's route for results. */
    restResults: z.strictObject({ results: callAnswersSchema }).meta({ id: 'ResolveRequest' }),
    /** The body of REST's process_stream. Unknown fields are ignored, as in the Python service that this one replaces. */
    restBody: z
      .object(schemasOf<BodyOption>(options.filter(([, { rest }]) => rest === 'body')))
      .meta({ id: 'ProcessStreamRequest' }),
    generationId: generationIdSchema,
    thread: threadSchema,
  };
}
/** The input schemas of all doors. */
export type InputSchemas = ReturnType<typeof createInputSchemas>;

/**
 * A schema that judges as the given one does, and yields the value itself. The copies that zod makes of objects lose a key
 * named `__proto__`, which is data like any other.
 */
function judged<T>(schema: z.ZodType<T>): z.ZodType<T> {
  const { $schema: _$schema, ...shape } = z.toJSONSchema(schema, { io: 'input' });
  const judge = z.unknown().superRefine((value, context) => {
    for (const issue of schema.safeParse(value).error?.issues ?? []) context.addIssue({ ...issue });
  });
  return judge.meta(shape) as z.ZodType<T>;
}

/** Levels of nesting. Counts one level past `max` at most, so that a deep value costs no more than a flat one. */
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
