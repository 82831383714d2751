/** What the compiler must accept and refuse of the AI SDK's types; ai-sdk-types.test.ts compiles this file. */
import type { ChatInit, ChatTransport, UIMessage } from 'ai';
import type { ChatTransport as ChatTransport6, UIMessage as UIMessage6 } from 'ai-6';
import { createChatTransport, toMessages, toUIMessageChunks, type LlmMetadata } from '../../src/ai-sdk.ts';
import { createLlmClient } from '../../src/client.ts';
import { createUIMessageHandler, defineConfigs, createLlmRouter, type LlmRouter } from '../../src/index.ts';

const configs = defineConfigs({
  plain: { model: 'm', max_tokens: 1, system_prompt: 'You are plain.' },
  tutor: { model: 'm', max_tokens: 1, system_prompt: 'You teach {{subject}}.' },
});
type AppRouter = LlmRouter<typeof configs>;

const llm = createLlmClient<AppRouter>({ url: 'http://127.0.0.1:1', transport: 'sse' });

const transport = createChatTransport(llm, { config: 'plain' });
export const for7: ChatTransport<UIMessage> = transport;
export const for7WithMetadata: ChatTransport<UIMessage<LlmMetadata>> = transport;
export const init: ChatInit<UIMessage<LlmMetadata>> = { transport };
export const for6: ChatTransport6<UIMessage6> = transport;
export const outcome: Promise<'cancelled' | 'already_ended'> = transport.stop('chat');

createChatTransport(llm, { config: 'tutor', variables: { subject: 'music' }, onAbort: 'cancel' });
// @ts-expect-error: no such config
createChatTransport(llm, { config: 'plane' });
// @ts-expect-error: a variable is missing
createChatTransport(llm, { config: 'tutor' });
// @ts-expect-error: no such variable
createChatTransport(llm, { config: 'tutor', variables: { topic: 'music' } });

declare const messages7: UIMessage[];
declare const messages6: UIMessage6[];
toMessages(messages7);
toMessages(messages6);
export const chunks = toUIMessageChunks(llm.follow({ thread: 'chat' }));

const router = createLlmRouter(configs);
export const handler: (request: Request) => Promise<Response> = createUIMessageHandler(router, { config: 'tutor' });
// @ts-expect-error: no such config
createUIMessageHandler(router, { config: 'tutors' });
