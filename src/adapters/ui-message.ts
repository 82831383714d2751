/**
 * The messages and chunks of the AI SDK (https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol), as far as this service reads and writes
 * them. Declared here, so that nothing of ours imports `ai`: what is declared here fits the types of its lines 6 and 7.
 */
import type { Account, ErrorEvent, GenerationState, InputIssue, ObjectState } from '../protocol.ts';

/** A value of JSON. */
export type JsonValue = null | string | number | boolean | JsonObject | JsonValue[];

/** An object of JSON. */
export interface JsonObject {
  /** Its fields. */
  [field: string]: JsonValue | undefined;
}

/** What a part keeps for its provider: `anthropic` is what upstream wants back, `llm` is what `toMessages` needs beside it. */
export type PartMetadata = Record<string, JsonObject>;

/** What a message's `metadata` says about its generation. What may be absent comes with the end of the answer. */
export interface LlmMetadata {
  /** The generation's id. It is the message's id too, unless the message was begun by another generation. */
  generationId: string;
  /** The config that answered. */
  config: string;
  /** The model that answered. */
  model: string;
  /** Set where the built-in simulator answered instead of a model. */
  simulated?: true | undefined;
  /** How the answer ended; `running` also where it waits for the client. */
  state: GenerationState;
  /** Tokens, also of an answer that failed or was stopped. */
  usage?: Account['usage'] | undefined;
  /** US dollars; null where the price of the model is unknown. */
  costUsd?: number | null | undefined;
  /** How long the answer took. */
  timing?: Account['timing'] | undefined;
  /** Upstream's `stop_reason`; null if it gave none, absent unless `state` is `done`. */
  stopReason?: string | null | undefined;
  /** What became of the object of a config with an `output`. A valid one is the data of the part `data-object`. */
  object?: ObjectState | undefined;
  /** What is wrong with the object, where `object` is `invalid`. */
  issues?: InputIssue[] | undefined;
  /** Why the answer failed, where `state` is `error`. */
  error?: Pick<ErrorEvent, 'code' | 'message' | 'retryable' | 'retryAfterMs' | 'requestId'> | undefined;
}

/** The beginning of a text or of reasoning, or its end. */
export interface PartEdge {
  /** The id of the part: the index of its content block. */
  id: string;
  /** What upstream wants back of the block. */
  providerMetadata?: PartMetadata;
}

/** A piece of a text or of reasoning. */
export interface PartDelta {
  /** The id of the part. */
  id: string;
  /** What this piece adds. */
  delta: string;
}

/** What every chunk about a call has. */
export interface ToolFacts {
  /** Upstream's id of the call. */
  toolCallId: string;
  /** Set for a tool of upstream's own, which the config has by its type only. Its part is a `dynamic-tool`. */
  dynamic?: boolean;
  /** Set where the client doesn't run the tool: the service does, or upstream. With an approval, it is set by the result. */
  providerExecuted?: boolean;
  /** What `toMessages` needs to know of the call. */
  providerMetadata?: PartMetadata;
}

/** The input of a call. */
export interface ToolInput extends ToolFacts {
  /** Name of the tool, as the config has it. */
  toolName: string;
  /** What the model gives to the tool. */
  input: unknown;
}

/** Why a call has no result, or an answer no end. */
export interface Failure {
  /** For people. */
  errorText: string;
}

/** Something that the answer cites. */
export interface Source {
  /** Unique within the message. */
  sourceId: string;
  /** Its title, if it has one. */
  title?: string;
}

/**
 * One chunk of a message, as `useChat` reads it.
 *
 * The finish reason of an answer that was cancelled is `interrupted`. The type has no such member, since that of line 6 has none.
 */
export type UIMessageChunk =
  | {
      type: 'start';
      /** The id of the generation, or of the message that it goes on with. */
      messageId: string;
      /** What is known of it by then. */
      messageMetadata: LlmMetadata;
    }
  | { type: 'start-step' }
  | { type: 'finish-step' }
  | ({ type: 'text-start' } & PartEdge)
  | ({ type: 'text-delta' } & PartDelta)
  | ({ type: 'text-end' } & PartEdge)
  | ({ type: 'reasoning-start' } & PartEdge)
  | ({ type: 'reasoning-delta' } & PartDelta)
  | ({ type: 'reasoning-end' } & PartEdge)
  | {
      type: 'tool-input-start';
      /** Upstream's id of the call. */
      toolCallId: string;
      /** Name of the tool, as the config has it. */
      toolName: string;
    }
  | {
      type: 'tool-input-delta';
      /** Upstream's id of the call. */
      toolCallId: string;
      /** A piece of the input's JSON. */
      inputTextDelta: string;
    }
  | ({ type: 'tool-input-available' } & ToolInput)
  | ({ type: 'tool-input-error' } & ToolInput & Failure)
  | {
      type: 'tool-approval-request';
      /** The id of the call once more. */
      approvalId: string;
      /** Upstream's id of the call. */
      toolCallId: string;
    }
  | ({
      type: 'tool-output-available';
      /** The result; undefined where clients don't get it. */
      output: unknown;
    } & ToolFacts)
  | ({ type: 'tool-output-error' } & ToolFacts & Failure)
  | {
      type: 'tool-output-denied';
      /** Upstream's id of the call. */
      toolCallId: string;
    }
  | ({
      type: 'source-url';
      /** Where it is. */
      url: string;
    } & Source)
  | ({
      type: 'source-document';
      /** The kind of document, as far as it is known. */
      mediaType: string;
      /** Its title. */
      title: string;
    } & Source)
  | {
      type: 'data-block';
      /** The index of the block. */
      id: string;
      /** A content block of a kind that the AI SDK has no part for, as upstream sent it. */
      data: unknown;
    }
  | {
      type: 'data-object';
      /** The object that answers, where the config has an `output` and the object is valid. */
      data: unknown;
    }
  | {
      type: 'message-metadata';
      /** What is known of the generation at its end. */
      messageMetadata: LlmMetadata;
    }
  | ({ type: 'error' } & Failure)
  | {
      type: 'finish';
      /** Why the answer finished. */
      finishReason: FinishReason;
      /** What is known of the generation at its end; absent where it waits for the client. */
      messageMetadata?: LlmMetadata;
    };

/** Why an answer finished, in the words of the AI SDK. */
export type FinishReason = 'stop' | 'length' | 'content-filter' | 'tool-calls' | 'error' | 'other';

/** A message as `useChat` keeps it. `UIMessage` of `ai` is one. */
export interface UIMessageLike {
  /** The id of the message. */
  readonly id?: string | undefined;
  /** Who wrote it. */
  readonly role: 'system' | 'user' | 'assistant';
  /** Its parts, in order. */
  readonly parts: readonly {
    /** The kind of part, such as `text` or `tool-getWeather`. */
    readonly type: string;
  }[];
  /** That of an answer is an `LlmMetadata`. */
  readonly metadata?: unknown;
}

/** A part of a message, of which nothing is known: it may come from a client over the wire. */
export type Part = Readonly<Record<string, unknown>>;

/** The metadata of a part under one name; empty where it has none of that name. */
export function metadataOf(part: Part, field: string, name: 'anthropic' | 'llm'): Readonly<Record<string, unknown>> {
  const under = part[field];
  return isRecord(under) && isRecord(under[name]) ? under[name] : {};
}

/** Whether a value is an object with fields, and no list. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The name of the tool whose call a part is; undefined for any other part. */
export function toolNameOf({ type, toolName }: Part): string | undefined {
  if (type === 'dynamic-tool') return typeof toolName === 'string' ? toolName : undefined;
  return typeof type === 'string' && type.startsWith('tool-') ? type.slice('tool-'.length) : undefined;
}

/** The parts of a message. They may be missing or anything else where a client sent it. */
export function partsOf({ parts }: UIMessageLike): readonly Part[] {
  return Array.isArray(parts) ? (parts as readonly unknown[]).filter(isRecord) : [];
}
