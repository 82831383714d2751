/** Configs with tools and outputs, for the tests of types. */
import { z } from 'zod';
import { clientTool, defineConfigs, tool } from '../../src/define-configs.ts';

const common = { model: 'm', max_tokens: 10 } as const;

/** Two configs have it. */
const getTime = tool({
  description: 'The time somewhere',
  input: z.object({ zone: z.string() }),
  execute: ({ zone }) => new Date().toLocaleString('en', { timeZone: zone }),
});

export const configs = defineConfigs({
  plain: { ...common, system_prompt: 'No variables' },
  tutor: { ...common, system_prompt: 'On {{subject}}, {{level}}', fallback: 'plain' },
  weather: {
    ...common,
    system_prompt: 'For {{place}}',
    effort: 'low',
    tools: {
      getTime,
      getWeather: tool({
        description: 'the-secret-of-a-description',
        input: z.object({ city: z.string(), days: z.number().default(1) }),
        output: z.object({ celsius: z.number() }),
        approval: ({ days }) => days > 3,
        execute: async ({ city, days }, { signal, idempotencyKey, caller }) => {
          days satisfies number;
          signal satisfies AbortSignal;
          caller.name satisfies string;
          return { celsius: city.length + idempotencyKey.length, secret: 'the-secret-of-execute' };
        },
      }),
      silent: tool({
        description: '',
        input: z.object({}),
        execute: (_, { callId }) => callId.length,
      }),
      pickFile: clientTool({
        description: '',
        input: z.object({ kind: z.enum(['image', 'text']) }),
        output: z.object({ name: z.string(), bytes: z.number().default(0) }),
      }),
      web: { type: 'web_search_20260318', max_uses: 3 },
      notes: { type: 'memory_20250818' },
    },
  },
  extract: {
    ...common,
    system_prompt: '',
    output: z.object({ title: z.string(), tags: z.array(z.string()), due: z.string().optional() }),
  },
  both: {
    ...common,
    system_prompt: '',
    tools: { getTime },
    output: z.object({ answer: z.number() }),
  },
});
export type TypedConfigs = typeof configs;
