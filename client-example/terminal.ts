/**
 * A terminal client on the stock @trpc/client: lists the configs, then streams one answer.
 *
 *   npx tsx client-example/terminal.ts [config] [prompt]
 */
import { createTRPCClient, httpBatchLink, httpSubscriptionLink, splitLink } from '@trpc/client';
import { EventSource } from 'eventsource';
import superjson from 'superjson';
import type { AppRouter } from '../llm.config.ts';

// Whoever reads may leave first, as `head` does.
process.stdout.on('error', () => process.exit());

const url = process.env['LLM_SERVICE_URL'] ?? 'http://127.0.0.1:3000/trpc';
const client = createTRPCClient<AppRouter>({
  links: [
    splitLink({
      condition: ({ type }) => type === 'subscription',
      true: httpSubscriptionLink({ url, transformer: superjson, EventSource }),
      false: httpBatchLink({ url, transformer: superjson }),
    }),
  ],
});

for (const { name, model, variables } of await client.llm.configs.query()) {
  console.error(`${name}: ${model}${variables.length > 0 ? `, takes ${variables.join(', ')}` : ''}`);
}

const [config = 'default', prompt = 'What can you do?'] = process.argv.slice(2);
if (config !== 'default' && config !== 'welcome')
  throw new Error(`this example knows default and welcome, not ${config}`);

// The id makes the request safe to repeat: a client that is cut off comes back to the same answer.
const input = { config, generationId: crypto.randomUUID(), messages: [{ role: 'user', content: prompt }] } as const;
await new Promise<void>((resolve, reject) => {
  client.llm.stream.subscribe(input, {
    onData: ({ data: event }) => {
      if (event.type === 'start' && event.simulated) console.error('(simulated)');
      if (event.type === 'text') process.stdout.write(event.text);
      if (event.type === 'done') console.error(`\n${event.usage.outputTokens} tokens, ${event.stopReason}`);
      if (event.type === 'error') reject(new Error(`${event.code}: ${event.message}`));
    },
    onError: reject,
    onComplete: resolve,
  });
});
