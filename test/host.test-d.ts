/** Tools and outputs in the types of somebody else's tRPC app, with and without a transformer; test/types.test.ts compiles this file. */
import type { TRPCClient } from '@trpc/client';
import { initTRPC } from '@trpc/server';
import superjson from 'superjson';
import { expectTypeOf } from 'vitest';
import { createLlmClient, type EventsOf } from '../src/client.ts';
import { createLlmRouter } from '../src/embed.ts';
import type { Message } from '../src/protocol.ts';
import { configs } from './support/typed-configs.ts';

declare const messages: Message[];
const weather = { config: 'weather', messages, variables: { place: '' } } as const;
const to = { url: '', transport: 'sse' } as const;

function plainHost() {
  const t = initTRPC.context<{ user: string }>().create();
  return t.router({ hello: t.procedure.query(() => 'x'), llm: createLlmRouter(configs, {}).llm });
}
function transformingHost() {
  const t = initTRPC.context<{ user: string }>().create({ transformer: superjson });
  return t.router({ hello: t.procedure.query(() => 'x'), llm: createLlmRouter(configs, {}).llm });
}
type Plain = ReturnType<typeof plainHost>;
type Transforming = ReturnType<typeof transformingHost>;

declare const plain: TRPCClient<Plain>;
plain.llm.stream.subscribe(weather, {
  onData: ({ data: event }) => {
    if (event.type === 'tool_call' && event.name === 'getWeather')
      expectTypeOf(event.input.city).toEqualTypeOf<string>();
    if (event.type === 'tool_result' && event.name === 'getWeather' && event.ok) {
      expectTypeOf(event.output.celsius).toEqualTypeOf<number>();
    }
    if (event.type === 'tool_result' && event.name === 'getTime' && event.ok) {
      expectTypeOf(event).not.toHaveProperty('output');
    }
  },
});

declare const transforming: TRPCClient<Transforming>;
transforming.llm.stream.subscribe(weather, {
  onData: ({ data: event }) => {
    if (event.type === 'tool_call' && event.name === 'getWeather')
      expectTypeOf(event.input.city).toEqualTypeOf<string>();
    if (event.type === 'tool_result' && event.name === 'getWeather' && event.ok) {
      expectTypeOf(event.output.celsius).toEqualTypeOf<number>();
    }
  },
});

export async function ourClient() {
  const ofPlain = createLlmClient<Plain>(to);
  for await (const event of ofPlain.stream(weather, { tools: { pickFile: ({ kind }) => ({ name: kind }) } })) {
    if (event.type === 'tool_call' && event.name === 'getWeather')
      expectTypeOf(event.input.city).toEqualTypeOf<string>();
  }
  expectTypeOf(await ofPlain.stream({ config: 'both', messages }).object()).toEqualTypeOf<{ answer: number }>();

  const ofTransforming = createLlmClient<Transforming>(to);
  for await (const event of ofTransforming.stream(weather)) {
    if (event.type === 'tool_result' && event.name === 'getWeather' && event.ok) {
      expectTypeOf(event.output.celsius).toEqualTypeOf<number>();
    }
  }
  expectTypeOf(await ofTransforming.stream({ config: 'both', messages }).object()).toEqualTypeOf<{ answer: number }>();
}

expectTypeOf<Extract<EventsOf<Plain, 'both'>, { type: 'tool_call' }>['name']>().toEqualTypeOf<'getTime'>();
expectTypeOf<Extract<EventsOf<Transforming, 'both'>, { type: 'tool_call' }>['input']>().toEqualTypeOf<{
  zone: string;
}>();
