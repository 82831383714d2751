/** What the compiler knows of `useAnswer`, and what it refuses; test/types.test.ts compiles this file. */
import { expectTypeOf } from 'vitest';
import { createLlmClient } from '../src/client.ts';
import type { LlmRouter } from '../src/doors/trpc/router.ts';
import type { Message } from '../src/protocol.ts';
import { answer, useAnswer, type Answer } from '../src/react.ts';
import type { TypedConfigs } from './support/typed-configs.ts';

type AppRouter = LlmRouter<TypedConfigs>;
declare const messages: Message[];
const llm = createLlmClient<AppRouter>({ url: 'http://127.0.0.1:3000', transport: 'ws' });

export function useTyped() {
  const plain = useAnswer(llm, { config: 'plain', messages });
  expectTypeOf(plain.answer.text).toEqualTypeOf<string>();
  expectTypeOf(plain.answer.calls).toEqualTypeOf<readonly never[]>();
  useAnswer(llm, undefined);
  useAnswer(llm, { generationId: '' });
  useAnswer(llm, Math.random() > 0.5 ? { config: 'plain', messages } : undefined);
  // @ts-expect-error: there is no such config
  useAnswer(llm, { config: 'plane', messages });
  // @ts-expect-error: a variable is missing
  useAnswer(llm, { config: 'tutor', messages });

  const weather = useAnswer(
    llm,
    { config: 'weather', messages, variables: { place: '' } },
    { tools: { pickFile: ({ kind }) => ({ name: kind }) } },
  );
  for (const call of weather.answer.calls) {
    if (call.name !== 'getWeather') continue;
    expectTypeOf(call.input?.city).toEqualTypeOf<string | undefined>();
    expectTypeOf(call.output?.celsius).toEqualTypeOf<number | undefined>();
  }
  useAnswer(
    llm,
    { config: 'weather', messages, variables: { place: '' } },
    // @ts-expect-error: the tool gives a name
    { tools: { pickFile: () => ({ title: '' }) } },
  );

  const extract = useAnswer(llm, { config: 'extract', messages });
  expectTypeOf(extract.answer.object?.title).toEqualTypeOf<string | undefined>();
  const { answer: followed } = useAnswer<AppRouter, 'extract'>(llm, { generationId: '' });
  expectTypeOf(followed.object?.title).toEqualTypeOf<string | undefined>();
}

export const folded: Answer = answer([]);
