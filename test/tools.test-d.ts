/** What the compiler knows of tools and outputs, and what of them it refuses; test/types.test.ts compiles this file. */
import type { TRPCClient } from '@trpc/client';
import { expectTypeOf } from 'vitest';
import { z } from 'zod';
import { createLlmClient, type EventsOf, type ObjectOf, type StreamInputOf } from '../src/client.ts';
import {
  clientTool,
  defineConfigs,
  tool,
  type ConfigNames,
  type Configs,
  type OutputOf,
  type ToolsOf,
  type ToolTypes,
  type VariablesOf,
} from '../src/define-configs.ts';
import type { LlmRouter } from '../src/doors/trpc/router.ts';
import type { LlmEvent, Message } from '../src/protocol.ts';
import type { configs, TypedConfigs } from './support/typed-configs.ts';

type Extracted = { title: string; tags: string[]; due?: string | undefined };
type Weather = { city: string; days?: number | undefined };
type WeatherTools = 'getTime' | 'getWeather' | 'silent' | 'pickFile' | 'notes';

declare const messages: Message[];

// ---------------------------------------------------------------------------------------------------------- configs

expectTypeOf<ConfigNames<TypedConfigs>>().toEqualTypeOf<'plain' | 'tutor' | 'weather' | 'extract' | 'both'>();
expectTypeOf<VariablesOf<TypedConfigs, 'weather'>>().toEqualTypeOf<'place'>();
expectTypeOf<VariablesOf<TypedConfigs, 'plain'>>().toEqualTypeOf<never>();
// Tools that upstream executes are not among them; those that it only defines are.
expectTypeOf<keyof ToolsOf<TypedConfigs, 'weather'>>().toEqualTypeOf<WeatherTools>();
expectTypeOf<ToolsOf<TypedConfigs, 'weather'>['getWeather']>().toEqualTypeOf<{
  input: Weather;
  output: { celsius: number };
  by: 'service';
}>();
// Without `output`, clients get none, also where the tool is written within its config.
type Untold<Input> = { input: Input; output: undefined; by: 'service' };
expectTypeOf<ToolsOf<TypedConfigs, 'weather'>['getTime']>().toEqualTypeOf<Untold<{ zone: string }>>();
expectTypeOf<ToolsOf<TypedConfigs, 'weather'>['silent']>().toEqualTypeOf<Untold<Record<string, never>>>();
expectTypeOf<ToolsOf<TypedConfigs, 'weather'>['pickFile']>().toEqualTypeOf<{
  input: { kind: 'image' | 'text' };
  output: { name: string; bytes?: number | undefined };
  by: 'client';
}>();
expectTypeOf<ToolsOf<TypedConfigs, 'weather'>['notes']>().toEqualTypeOf<{
  input: unknown;
  output: unknown;
  by: 'client';
}>();
expectTypeOf<OutputOf<TypedConfigs, 'extract'>>().toEqualTypeOf<Extracted>();
expectTypeOf<OutputOf<TypedConfigs, 'plain'>>().toEqualTypeOf<undefined>();

// Functions that take any configs take these.
declare const given: typeof configs;
given satisfies Configs<Record<string, string>>;
given satisfies Configs<Record<string, string>, Record<string, Record<string, ToolTypes>>, unknown>;

type Wide = Configs<Record<string, string>>;
expectTypeOf<ToolsOf<Wide, string>>().toEqualTypeOf<Record<string, ToolTypes>>();
expectTypeOf<OutputOf<Wide, string>>().toEqualTypeOf<unknown>();

const common = { model: 'm', max_tokens: 10, system_prompt: '' } as const;
const schemas = { description: '', input: z.object({}), output: z.object({ n: z.number() }) };
// @ts-expect-error: there is no such key
defineConfigs({ one: { ...common, tols: {} } });
// @ts-expect-error: not a tool
defineConfigs({ one: { ...common, tools: { a: { description: '' } } } });
// @ts-expect-error: not a tool of upstream
defineConfigs({ one: { ...common, tools: { a: { type: 1 } } } });
// @ts-expect-error: not a schema
defineConfigs({ one: { ...common, output: { type: 'object' } } });
// @ts-expect-error: a result that its schema doesn't take
defineConfigs({ one: { ...common, tools: { a: tool({ ...schemas, execute: () => ({ n: 'x' }) }) } } });
// @ts-expect-error: misspelt
defineConfigs({ one: { ...common, tools: { a: tool({ ...schemas, exceute: () => ({ n: 1 }) }) } } });
// @ts-expect-error: neither execute nor output
tool({ description: '', input: z.object({}) });
// @ts-expect-error: a client can't answer without an output
clientTool({ description: '', input: z.object({}) });
// @ts-expect-error: a client's tool is not executed here
clientTool({ ...schemas, execute: () => ({ n: 1 }) });
// @ts-expect-error: a fallback is the name of another config
defineConfigs({ one: { ...common, tools: {}, fallback: 'two' } });
// @ts-expect-error: an input is as its schema has it
tool({ ...schemas, execute: ({ x }) => ({ n: x }) });

// ------------------------------------------------------------------------------------------------- the stock client

declare const stock: TRPCClient<LlmRouter<TypedConfigs>>;

stock.llm.stream.subscribe(
  { config: 'weather', messages, variables: { place: '' } },
  {
    onData: ({ data: event }) => {
      event satisfies LlmEvent;
      if (event.type === 'tool_start') expectTypeOf(event.name).toEqualTypeOf<WeatherTools>();
      if (event.type === 'tool_call') {
        expectTypeOf(event.name).toEqualTypeOf<WeatherTools>();
        expectTypeOf(event.approval).toEqualTypeOf<true | undefined>();
        if (event.name === 'getWeather') {
          expectTypeOf(event.input).toEqualTypeOf<Weather>();
          expectTypeOf(event.by).toEqualTypeOf<'service'>();
        }
      }
      if (event.type === 'tool_result' && event.name === 'getWeather') {
        if (event.ok) expectTypeOf(event.output).toEqualTypeOf<{ celsius: number }>();
        else expectTypeOf(event.error.message).toEqualTypeOf<string>();
      }
      // @ts-expect-error: clients don't get what it returned
      if (event.type === 'tool_result' && event.name === 'getTime' && event.ok) void event.output;
      if (event.type === 'text') expectTypeOf(event.text).toEqualTypeOf<string>();
    },
  },
);
stock.llm.follow.subscribe(
  { generationId: '' },
  {
    onData: ({ data: event }) => {
      if (event.type === 'tool_call' && event.name === 'getWeather') expectTypeOf(event.input).toEqualTypeOf<Weather>();
    },
  },
);

// ------------------------------------------------------------------------------------------------------ our client

type AppRouter = LlmRouter<TypedConfigs>;
const llm = createLlmClient<AppRouter>({ url: '', transport: 'sse' });

export async function narrowing() {
  const run = llm.stream(
    { config: 'weather', messages, variables: { place: 'x' } },
    {
      tools: {
        pickFile: ({ kind }, { signal, callId }) => {
          expectTypeOf(kind).toEqualTypeOf<'image' | 'text'>();
          signal satisfies AbortSignal;
          return { name: callId };
        },
      },
    },
  );
  for await (const event of run) {
    event satisfies LlmEvent;
    if (event.type === 'tool_call') {
      expectTypeOf(event.name).toEqualTypeOf<WeatherTools>();
      if (event.name === 'getWeather') expectTypeOf(event.input).toEqualTypeOf<Weather>();
    }
    if (event.type === 'tool_result' && event.name === 'getWeather' && event.ok) {
      expectTypeOf(event.output).toEqualTypeOf<{ celsius: number }>();
    }
  }
  expectTypeOf(run.object).returns.toEqualTypeOf<Promise<undefined>>();
  expectTypeOf(run.messages).returns.toEqualTypeOf<Promise<Message[]>>();

  for await (const event of llm.stream({ config: 'plain', messages })) {
    event satisfies LlmEvent;
    // @ts-expect-error: a config without tools calls none
    void (event.type === 'tool_call');
  }
  for await (const event of llm.stream({ config: 'both', messages })) {
    if (event.type === 'tool_call') expectTypeOf(event.name).toEqualTypeOf<'getTime'>();
  }

  expectTypeOf(await llm.stream({ config: 'extract', messages }).object()).toEqualTypeOf<Extracted>();
  for await (const partial of llm.stream({ config: 'extract', messages }).partials()) {
    expectTypeOf(partial.title).toEqualTypeOf<string | undefined>();
    expectTypeOf(partial.tags).toEqualTypeOf<readonly string[] | undefined>();
  }
}

export async function chosenAtRunTime(name: 'plain' | 'extract') {
  const either = llm.stream({ config: name, messages });
  expectTypeOf(await either.object()).toEqualTypeOf<Extracted | undefined>();
  const input: StreamInputOf<AppRouter> = { config: 'plain', messages };
  llm.stream(input);
  for await (const event of llm.follow<'weather'>({ generationId: '' })) {
    if (event.type === 'tool_call') expectTypeOf(event.name).toEqualTypeOf<WeatherTools>();
  }
  for await (const event of llm.follow({ generationId: '' })) {
    if (event.type === 'tool_call') expectTypeOf(event.name).toEqualTypeOf<WeatherTools>();
  }
  expectTypeOf(await llm.follow<'extract'>({ generationId: '' }).object()).toEqualTypeOf<Extracted>();
}

declare function takesAny(stream: (input: StreamInputOf<AppRouter>) => unknown): void;
takesAny(llm.stream);

// For code around a stock client.
type Calls<Name extends 'weather' | 'both' | 'plain'> = Extract<EventsOf<AppRouter, Name>, { type: 'tool_call' }>;
expectTypeOf<Calls<'both'>['name']>().toEqualTypeOf<'getTime'>();
expectTypeOf<Calls<'weather'>['name']>().toEqualTypeOf<WeatherTools>();
expectTypeOf<Calls<'plain'>>().toEqualTypeOf<never>();
expectTypeOf<Extract<EventsOf<AppRouter>, { type: 'tool_call' }>['name']>().toEqualTypeOf<WeatherTools>();
expectTypeOf<ObjectOf<AppRouter, 'both'>>().toEqualTypeOf<{ answer: number }>();
// A tool that two configs share is one member of the union.
type Shared = Extract<EventsOf<AppRouter>, { type: 'tool_call'; name: 'getTime' }>;
expectTypeOf<Shared>().toEqualTypeOf<Calls<'both'>>();

// @ts-expect-error: there is no such config
llm.stream({ config: 'tutour', messages });
// @ts-expect-error: there is no such config
export type Unknown = EventsOf<AppRouter, 'tutour'>;
// @ts-expect-error: a variable is missing
llm.stream({ config: 'tutor', messages, variables: { subject: '' } });
// @ts-expect-error: all variables are missing
llm.stream({ config: 'tutor', messages });
// @ts-expect-error: there is one too many
llm.stream({ config: 'tutor', messages, variables: { subject: '', level: '', more: '' } });
// @ts-expect-error: this config takes none
llm.stream({ config: 'plain', messages, variables: { subject: '' } });
// @ts-expect-error: no such key
llm.stream({ config: 'plain', messages, foo: 1 });
const weather = { config: 'weather', messages, variables: { place: '' } } as const;
// @ts-expect-error: a service tool is not the client's to answer
llm.stream(weather, { tools: { getWeather: () => ({ celsius: 1 }) } });
// @ts-expect-error: a result that the tool doesn't take
llm.stream(weather, { tools: { pickFile: () => ({ name: 1, bytes: 2 }) } });
// @ts-expect-error: this config has no tools
llm.stream({ config: 'plain', messages }, { tools: { pickFile: () => ({ name: '', bytes: 2 }) } });
void llm.resolve({
  generationId: '',
  results: [
    { id: '', output: 1 },
    { id: '', error: '' },
    { id: '', approved: true },
  ],
});
// @ts-expect-error: a result says one of three
void llm.resolve({ generationId: '', results: [{ id: '' }] });

// ------------------------------------------------------------------------------------ configs known only at run time

const wide = createLlmClient<LlmRouter<Wide>>({ url: '', transport: 'ws' });
export async function knowingNothing() {
  for await (const event of wide.stream({ config: 'anything', messages, variables: { a: '' } })) {
    expectTypeOf(event).toEqualTypeOf<LlmEvent>();
    if (event.type === 'tool_call') expectTypeOf(event.input).toEqualTypeOf<unknown>();
  }
  expectTypeOf(await wide.stream({ config: 'anything', messages }).object()).toEqualTypeOf<unknown>();
  wide.stream({ config: 'anything', messages }, { tools: { whatever: (input) => input } });
}
