/** What queries and mutations answer. */
import { z } from 'zod';
import { terminalEventSchema, type TerminalEvent } from './events.ts';

/** The schema of `ConfigSummary`. */
export const configSummarySchema = z
  .object({
    name: z.string(),
    description: z.string().optional(),
    model: z.string(),
    maxTokens: z.int(),
    temperature: z.number().optional(),
    variables: z.array(z.string()),
    clientTools: z.array(z.string()).optional(),
  })
  .meta({ id: 'ConfigSummary' });
/** A config as clients may know it: never its prompt, keys or URLs. */
export interface ConfigSummary {
  /** What a request names as its `config`. */
  name: string;
  /** What the operator wrote about it; absent if nothing. */
  description?: string | undefined;
  /** Name of the model. */
  model: string;
  /** The most tokens that an answer may have. */
  maxTokens: number;
  /** The sampling temperature; absent where the model's own default applies. */
  temperature?: number | undefined;
  /** Names of the variables that a request must give. */
  variables: string[];
  /** Names of the tools that clients answer; absent if there are none. */
  clientTools?: string[] | undefined;
}

/** Whether a generation runs, or how it ended. */
export type GenerationState = 'running' | TerminalEvent['type'];

/** The schema of `GenerationSummary`. */
export const generationSummarySchema = z
  .object({
    generationId: z.string(),
    config: z.string(),
    state: z.enum(['running', 'done', 'cancelled', 'error']),
    lastEventId: z.string(),
    startedAt: z.iso.datetime(),
    thread: z.string().optional(),
    terminal: terminalEventSchema.optional(),
  })
  .meta({ id: 'GenerationSummary' });
/** One of the caller's generations, as `llm.generations` lists it. */
export interface GenerationSummary {
  /** The generation's UUID, in lower case. */
  generationId: string;
  /** Name of the config that was asked for. */
  config: string;
  /** Whether it runs, or how it ended. */
  state: GenerationState;
  /** The id of its last event so far, for a client that follows from there. */
  lastEventId: string;
  /** When it was started: ISO 8601, in UTC. */
  startedAt: string;
  /** The label with which it was started; absent if it was started without one. */
  thread?: string | undefined;
  /** Its terminal event; absent while it runs. */
  terminal?: TerminalEvent | undefined;
}

/** The whole of a generation so far: what `llm.generation` answers. */
export interface GenerationSnapshot extends GenerationSummary {
  /** The text of all text blocks, joined. */
  text: string;
}

/** What `llm.resolve` answers. */
export interface Resolution {
  /** How many calls got their answers: all of those that the request names. */
  resolved: number;
}

/** Every `CancelOutcome`. */
export const cancelOutcomes = ['cancelled', 'already_ended'] as const;
/** What `llm.cancel` answers as `outcome`: whether this cancel ended the generation, or it had ended before. */
export type CancelOutcome = (typeof cancelOutcomes)[number];
