/**
 * Tools as a config declares them: `tool` for those that the service executes, `clientTool` for those that the client answers.
 * Imports types only, since every config file loads this module. The type of a tool holds what it takes and gives, and never
 * a description or a function, so that no declaration file carries them to a client.
 */
import type { ToolSide } from '../protocol/tool-events.ts';

/**
 * A schema by the Standard Schema interface (https://standardschema.dev), with its JSON Schema: zod's from 4.2 on, Valibot's,
 * ArkType's.
 */
export interface Schema<Input = unknown, Output = unknown> {
  /** What the interface puts there. */
  readonly '~standard': {
    /** The version of the interface. */
    readonly version: 1;
    /** Name of the library. */
    readonly vendor: string;
    /** Judges a value. */
    readonly validate: (value: unknown) => unknown;
    /** Never set at run time: the place of the types. */
    readonly types?:
      | {
          /** What the schema takes. */
          readonly input: Input;
          /** What it makes of that. */
          readonly output: Output;
        }
      | undefined;
    /** Makes the JSON Schema. */
    readonly jsonSchema?: unknown;
  };
}

/** What clients know of a tool: types alone. The names of keys and the values of enums in its schemas are public. */
export interface ToolTypes {
  /** What the model gives to the tool. */
  readonly input: unknown;
  /** What clients get of its result; `undefined` where the tool doesn't declare its `output`. */
  readonly output: unknown;
  /** Who executes it. */
  readonly by: ToolSide;
}

/** A registered symbol, so that a config file and the service share it where each has its own copy of this module. */
const definition: unique symbol = Symbol.for('llm-service.tool');

/** A tool as `tool` or `clientTool` made it. */
export interface Tool<Input, Output, By extends ToolSide> {
  /** What `toolIn` reads. Not enumerable. */
  readonly [definition]: {
    /** Who executes it. */
    readonly by: By;
    /** The tool as it was written. */
    readonly raw: unknown;
    /** Never set: the place of the types. */
    readonly types?: {
      /** What the model gives to the tool. */
      readonly input: Input;
      /** What clients get of its result, or what the client answers with. */
      readonly output: Output;
    };
  };
}

/** A tool that upstream executes: its type as upstream names it, such as `web_search_20260318`, and the fields of that type. */
export interface ServerTool {
  /** Upstream's name of the kind of tool, with its date. */
  readonly type: string;
  /** The fields of that kind, as the Messages API has them. */
  readonly [field: string]: unknown;
}

/** What `tool` and `clientTool` return, without the types of the one tool. */
export interface AnyTool {
  /** What `toolIn` reads. Not enumerable. */
  readonly [definition]: {
    /** Who executes it. */
    readonly by: ToolSide;
    /** The tool as it was written. */
    readonly raw: unknown;
  };
}

/** The tools of a config as it is written, by the names that the model calls them by. */
export type ToolsInput = Readonly<Record<string, AnyTool | ServerTool>>;

/** What a tool is given beside its input. */
export interface ToolContext {
  /** Aborts when the generation is cancelled or ends, and when the tool's time is up. */
  readonly signal: AbortSignal;
  /** Who asked. */
  readonly caller: {
    /** The caller's name. */
    readonly name: string;
  };
  /** The variables of the request. */
  readonly variables: Readonly<Record<string, string>>;
  /** The generation's UUID. */
  readonly generationId: string;
  /** Upstream's id of this call. It changes when a request is run anew. */
  readonly callId: string;
  /**
   * The same for the same call of the same request, also where the request is run anew: a hash of caller, generationId, tool,
   * input, and how many such calls were before it. For services that take an idempotency key.
   */
  readonly idempotencyKey: string;
  /**
   * The header by which a server that the tool asks goes on with the trace. Absent where nothing is traced. The active span of
   * OpenTelemetry is the call's, too, so whatever is instrumented needs no header.
   */
  readonly traceparent?: string | undefined;
}

/** What all tools declare. */
export interface ToolDefinition<Input, Parsed> {
  /** What the model reads about the tool. */
  readonly description: string;
  /** What the tool takes: an object. */
  readonly input: Schema<Input, Parsed>;
  /** Whether upstream guarantees that the input fits the schema. Default: `false`. */
  readonly strict?: boolean;
  /** Whether clients receive the input while the model writes it, as `tool_input`. Default: `false`. */
  readonly stream_input?: boolean;
  /** Whether clients receive no event about the tool. Default: `false`. */
  readonly hidden?: boolean;
  /** Whether the model learns of the tool only once it has found it with a tool search of upstream. Default: `false`. */
  readonly defer_loading?: boolean;
  /** Inputs that show the model how the tool is meant. */
  readonly input_examples?: readonly NoInfer<Input>[];
}

/** A tool that the service executes, as `tool` takes it. */
export interface ServiceToolDefinition<Input, Parsed, Output, Shown> extends ToolDefinition<Input, Parsed> {
  /** What the tool gives: model and clients get the parsed result. Without it the model gets the result, and clients only `ok`. */
  readonly output?: Schema<Output, Shown>;
  /** Milliseconds after which the call ends as `timeout`. Default: 60,000. */
  readonly timeout_ms?: number;
  /** Whether the call waits until a client approves it; or a function that decides it for each call. Default: `false`. */
  readonly approval?: boolean | ((input: Parsed, context: ToolContext) => boolean | Promise<boolean>);
  /** Executes a call. A `ToolError` that it throws reaches the model; any other error reaches only the log. */
  readonly execute: (input: Parsed, context: ToolContext) => NoInfer<Output> | Promise<NoInfer<Output>>;
}

/** A tool that the client answers, as `clientTool` takes it. */
export interface ClientToolDefinition<Input, Parsed, Output, Shown> extends ToolDefinition<Input, Parsed> {
  /** What the client answers with. */
  readonly output: Schema<Output, Shown>;
}

/** A tool that the service executes. */
export function tool<Input, Parsed, Output = unknown, Shown = undefined>(
  written: ServiceToolDefinition<Input, Parsed, Output, Shown>,
): Tool<Input, Shown, 'service'> {
  return made('service', written);
}

/** A tool that the client answers, by `llm.resolve` or in its next request. */
export function clientTool<Input, Parsed, Output, Shown>(
  written: ClientToolDefinition<Input, Parsed, Output, Shown>,
): Tool<Input, Output, 'client'> {
  return made('client', written);
}

/** An error whose message the model reads, and clients too. Throw it from a tool's `execute`. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

/** A tool as it was written, and who executes it; undefined where the value is no result of `tool` or `clientTool`. */
export function toolIn(value: unknown): { readonly by: ToolSide; readonly raw: unknown } | undefined {
  return typeof value === 'object' && value !== null && definition in value
    ? (value as AnyTool)[definition]
    : undefined;
}

/** Not enumerable, so that a console.log of a tool prints no description. */
function made(by: ToolSide, raw: unknown): { readonly [definition]: never } {
  return Object.defineProperty({} as { readonly [definition]: never }, definition, { value: { by, raw } });
}
