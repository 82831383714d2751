/** What the compiler must accept and refuse of the typed client; test/types.test.ts compiles this file. */
import { expectTypeOf } from 'vitest';
import {
  createLlmClient,
  type LlmClientError,
  type LlmClientErrorCode,
  type LlmEvent,
  type Message,
} from '../src/client.ts';
import { defineConfigs } from '../src/define-configs.ts';
import type { CancelOutcome, ConfigSummary, InputIssue } from '../src/protocol.ts';
import type { LlmRouter } from '../src/doors/trpc/router.ts';

const common = { model: 'm', max_tokens: 10 } as const;
export const configs = defineConfigs({
  plain: { ...common, system_prompt: 'No variables' },
  tutor: { ...common, system_prompt: 'On {{subject}}, {{level}}' },
});
type AppRouter = LlmRouter<typeof configs>;

declare const messages: Message[];
declare const signal: AbortSignal;
declare const thrown: LlmClientError;

const llm = createLlmClient<AppRouter>({ url: 'http://127.0.0.1:3000', transport: 'sse', token: async () => 'token' });

llm.stream({ config: 'plain', messages });
llm.stream({ config: 'plain', messages: [{ role: 'user', content: 'hi' }], generationId: '' }, { signal });
llm.stream({ config: 'tutor', messages, variables: { subject: '', level: '' } });
// @ts-expect-error: there is no such config
llm.stream({ config: 'tutour', messages });
// @ts-expect-error: a variable is missing
llm.stream({ config: 'tutor', messages, variables: { subject: '' } });
// @ts-expect-error: all variables are missing
llm.stream({ config: 'tutor', messages });
// @ts-expect-error: there is one too many
llm.stream({ config: 'tutor', messages, variables: { subject: '', level: '', more: '' } });
// @ts-expect-error: this config takes none
llm.stream({ config: 'plain', messages, variables: { subject: '' } });
// @ts-expect-error: a message is from user or assistant
llm.stream({ config: 'plain', messages: [{ role: 'robot', content: '' }] });
// @ts-expect-error: an answer is followed by its id
llm.follow({ config: 'plain' });
// @ts-expect-error: there are two transports
createLlmClient<AppRouter>({ url: '', transport: 'rest' });

export async function reading() {
  const run = llm.stream({ config: 'plain', messages });
  expectTypeOf(run.generationId).toEqualTypeOf<string>();
  expectTypeOf(run.lastEventId).toEqualTypeOf<string | undefined>();
  expectTypeOf(await run.cancel()).toEqualTypeOf<CancelOutcome>();
  expectTypeOf(await run.text()).toEqualTypeOf<string>();
  for await (const event of run) {
    expectTypeOf(event).toEqualTypeOf<LlmEvent>();
    if (event.type === 'done') expectTypeOf(event.usage.outputTokens).toEqualTypeOf<number>();
  }
  for await (const event of llm.follow({ generationId: run.generationId, lastEventId: run.lastEventId })) {
    expectTypeOf(event).toEqualTypeOf<LlmEvent>();
  }
  expectTypeOf(await llm.trpc.llm.configs.query()).toEqualTypeOf<ConfigSummary[]>();
}

expectTypeOf(thrown.code).toEqualTypeOf<LlmClientErrorCode>();
expectTypeOf(thrown.issues).toEqualTypeOf<readonly InputIssue[] | undefined>();
