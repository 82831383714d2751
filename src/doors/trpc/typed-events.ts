/**
 * What clients know of an answer from its config: its events with the types of the config's tools, and its object. Types alone.
 * At run time the events are those of protocol/events.ts.
 */
import type { ConfigNames, Configs, OutputOf, ToolsOf } from '../../configs/configs.ts';
import type { LlmEvent, ToolCallEvent, ToolFailureEvent, ToolResultEvent, ToolStartEvent } from '../../protocol.ts';
import type { ToolTypes } from '../../tools/tool.ts';

/** The model has begun to write a call of one of these tools. */
export interface ToolStartOf<Names extends string> extends ToolStartEvent {
  /** Name of the tool, as the config has it. */
  name: Names;
}

/** A call of one tool, with the types that its config declares. */
export interface ToolCallOf<Name extends string, Types extends ToolTypes> extends ToolCallEvent {
  /** Name of the tool, as the config has it. */
  name: Name;
  /** What the model gives to the tool. The service judges it afterwards: input that doesn't fit the schema is answered with an error. */
  input: Types['input'];
  /** Who executes it. */
  by: Types['by'];
}

/** The call of one of these tools has no result. */
export interface ToolFailureOf<Names extends string> extends ToolFailureEvent {
  /** Name of the tool, as the config has it. */
  name: Names;
}

/** The result of a tool that doesn't declare its `output`: only the model gets it. */
export interface ToolSuccessOf<Name extends string> {
  type: 'tool_result';
  /** The id of the call. */
  id: string;
  /** Name of the tool, as the config has it. */
  name: Name;
  ok: true;
}

/** The result of a tool that declares its `output`. */
export interface ToolOutputOf<Name extends string, Output> extends ToolSuccessOf<Name> {
  /** The result. */
  output: Output;
}

/** Calls and results of the tools of one config. */
type CallsOf<Tools> = {
  [Name in keyof Tools & string]: Tools[Name] extends ToolTypes
    ? ToolCallOf<Name, Tools[Name]> | SuccessOf<Name, Tools[Name]['output']>
    : never;
}[keyof Tools & string];

// Without the key, where there is no output: tRPC's types of a host without a transformer would drop it.
type SuccessOf<Name extends string, Output> = [Output] extends [undefined]
  ? ToolSuccessOf<Name>
  : ToolOutputOf<Name, Output>;

/** The events that name no tool. */
type PlainEvent = Exclude<LlmEvent, ToolStartEvent | ToolCallEvent | ToolResultEvent>;

/** What all tools together add to the events. One member of the union for all their names, since a large union is slow to check. */
type OfAnyTool<Names extends string> = [Names] extends [never] ? never : ToolStartOf<Names> | ToolFailureOf<Names>;

type ToolNames<C, Name extends ConfigNames<C>> = Name extends unknown ? keyof ToolsOf<C, Name> & string : never;

/** Whether the compiler knows a tool of any config. Where it knows none, the events are `LlmEvent` itself. */
type KnowsTools<C> =
  C extends Configs<infer Variables, infer Tools, unknown>
    ? string extends keyof Variables
      ? false
      : [keyof Tools] extends [never]
        ? false
        : true
    : false;

/**
 * The events of an answer of these configs. A config that declares no tools, of a map in which others do, has the events that
 * name no tool.
 */
export type EventOf<C, Name extends ConfigNames<C>> =
  true extends KnowsTools<C>
    ? PlainEvent | OfAnyTool<ToolNames<C, Name>> | { [Each in Name]: CallsOf<ToolsOf<C, Each>> }[Name]
    : LlmEvent;

/** The events of an answer of any config. */
export type AnyEvent<C> = EventOf<C, ConfigNames<C>>;

/**
 * The key under which the input for a config carries the types of its answer. No value has it. A text and no symbol, so that the
 * package `@llm-service/client` finds under it the types of a service that has declarations of its own.
 */
export declare const answers: '~answers';

/** The types of a config's answer. */
export interface Answers<Event, Object, Tools> {
  /** Its events. */
  readonly event: Event;
  /** Its object; undefined without an `output`. */
  readonly object: Object;
  /** The types of its tools, by name. */
  readonly tools: Tools;
}

/** The types of the answer of one config. */
export type AnswerOf<C, Name extends ConfigNames<C>> = Answers<EventOf<C, Name>, OutputOf<C, Name>, ToolsOf<C, Name>>;
