/** What the compiler must accept and refuse; test/types.test.ts compiles this file. */
import type { TRPCClient } from '@trpc/client';
import { expectTypeOf } from 'vitest';
import type { z } from 'zod';
import { defineConfigs, type ConfigNames, type Configs, type VariablesOf } from '../src/configs/configs.ts';
import type {
  configSummarySchema,
  ConfigSummary,
  ErrorData,
  errorDataSchema,
  GenerationSummary,
  generationSummarySchema,
  llmEventSchema,
  LlmEvent,
  Message,
} from '../src/protocol.ts';
import type { LlmRouter } from '../src/doors/trpc/router.ts';

// ------------------------------------------------------------------------------- interfaces and schemas of the protocol

// Each stands twice: the interface for people, whose comments editors show, and the schema for machines.
type Writable<T> = T extends readonly (infer Each)[]
  ? Writable<Each>[]
  : T extends object
    ? { -readonly [Key in keyof T]: Writable<T[Key]> }
    : T;
expectTypeOf<z.infer<typeof llmEventSchema>>().toEqualTypeOf<LlmEvent>();
expectTypeOf<Writable<z.infer<typeof errorDataSchema>>>().toEqualTypeOf<Writable<ErrorData>>();
expectTypeOf<z.infer<typeof configSummarySchema>>().toEqualTypeOf<ConfigSummary>();
expectTypeOf<z.infer<typeof generationSummarySchema>>().toEqualTypeOf<GenerationSummary>();

// ---------------------------------------------------------------------------------------------------------- configs

const common = { model: 'm', max_tokens: 10 } as const;

export const configs = defineConfigs({
  none: { ...common, system_prompt: 'No {variables} {{ }} {{1}} {{a-b}} {{#if}} {{a b}}' },
  some: {
    ...common,
    system_prompt: 'On {{subject}}, {{ level }},\n{{\n\tsubject }}; {{{_x9}}} {{ no {{inner}} }} {{open',
  },
  file: { ...common, system_prompt: { file: 'prompt.md' } },
  listed: { ...common, system_prompt: { file: 'prompt.md', variables: ['a', 'b'] }, fallback: 'none' },
  joined: { ...common, system_prompt: ['{{a}}', '{{b}}'].join(' ') },
  filled: { ...common, system_prompt: `{{a}} ${String(1)} {{b}}` },
});
type C = typeof configs;

expectTypeOf<ConfigNames<C>>().toEqualTypeOf<'none' | 'some' | 'file' | 'listed' | 'joined' | 'filled'>();
expectTypeOf<VariablesOf<C, 'none'>>().toEqualTypeOf<never>();
expectTypeOf<VariablesOf<C, 'some'>>().toEqualTypeOf<'subject' | 'level' | '_x9' | 'inner'>();
expectTypeOf<VariablesOf<C, 'listed'>>().toEqualTypeOf<'a' | 'b'>();
// The variables of these are only known at run time.
expectTypeOf<VariablesOf<C, 'file'>>().toEqualTypeOf<string>();
expectTypeOf<VariablesOf<C, 'joined'>>().toEqualTypeOf<string>();
expectTypeOf<VariablesOf<C, 'filled'>>().toEqualTypeOf<string>();

// A function that takes any configs takes these.
configs satisfies Configs<Record<string, string>>;

type Wide = Configs<Record<string, string>>;
expectTypeOf<ConfigNames<Wide>>().toEqualTypeOf<string>();
expectTypeOf<VariablesOf<Wide, string>>().toEqualTypeOf<string>();

// @ts-expect-error: a config needs a model
defineConfigs({ one: { max_tokens: 10, system_prompt: '' } });
// @ts-expect-error: max_tokens is a number
defineConfigs({ one: { ...common, system_prompt: '', max_tokens: '10' } });
// @ts-expect-error: there is no such key
defineConfigs({ one: { ...common, system_prompt: '', tempurature: 1 } });
// @ts-expect-error: nor there
defineConfigs({ one: { ...common, system_prompt: '', timeouts: { idleMs: 1 } } });
// @ts-expect-error: nor there
defineConfigs({ one: { ...common, system_prompt: { file: 'prompt.md', variable: ['a'] } } });
// @ts-expect-error: on_disconnect is 'continue' or an object
defineConfigs({ one: { ...common, system_prompt: '', on_disconnect: 'stop' } });
// @ts-expect-error: a fallback is the name of another config
defineConfigs({ one: { ...common, system_prompt: '', fallback: 'two' }, three: { ...common, system_prompt: '' } });
// @ts-expect-error: no config falls back on itself
defineConfigs({ one: { ...common, system_prompt: '', fallback: 'one' }, two: { ...common, system_prompt: '' } });
// @ts-expect-error: there is no such config
export type Unknown = VariablesOf<C, 'unknown'>;

// --------------------------------------------------------------------------------------------- what clients see of them

declare const client: TRPCClient<LlmRouter<C>>;
declare const messages: Message[];

client.llm.stream.subscribe({ config: 'none', messages }, {});
client.llm.stream.subscribe({ config: 'none', messages, generationId: '', lastEventId: '' }, {});
client.llm.stream.subscribe({ config: 'listed', messages, variables: { a: '', b: '' } }, {});
client.llm.stream.subscribe({ config: 'joined', messages, variables: { any: '' } }, {});
client.llm.stream.subscribe({ config: 'joined', messages }, {});
// @ts-expect-error: there is no such config
client.llm.stream.subscribe({ config: 'unknown', messages }, {});
// @ts-expect-error: a variable is missing
client.llm.stream.subscribe({ config: 'listed', messages, variables: { a: '' } }, {});
// @ts-expect-error: all variables are missing
client.llm.stream.subscribe({ config: 'listed', messages }, {});
// @ts-expect-error: there is one too many
client.llm.stream.subscribe({ config: 'listed', messages, variables: { a: '', b: '', c: '' } }, {});
// @ts-expect-error: this config takes none
client.llm.stream.subscribe({ config: 'none', messages, variables: { a: '' } }, {});
// @ts-expect-error: variables are text
client.llm.stream.subscribe({ config: 'listed', messages, variables: { a: 1, b: '' } }, {});
// @ts-expect-error: a message is from user or assistant
client.llm.stream.subscribe({ config: 'none', messages: [{ role: 'robot', content: '' }] }, {});

client.llm.stream.subscribe(
  { config: 'none', messages },
  {
    onData: ({ id, data }) => {
      expectTypeOf(id).toEqualTypeOf<string>();
      expectTypeOf(data).toEqualTypeOf<LlmEvent>();
    },
    onError: ({ data }) => expectTypeOf(data!.llm).toEqualTypeOf<ErrorData>(),
  },
);

export async function listing() {
  const [first] = await client.llm.configs.query();
  expectTypeOf(first!).toEqualTypeOf<ConfigSummary>();
  // @ts-expect-error: no client can read a prompt
  return first!.system_prompt ?? first!.systemPrompt ?? first!.prompt;
}
