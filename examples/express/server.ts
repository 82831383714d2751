/** An Express app with its own tRPC router, in which the service is mounted as `llm`, behind the app's own users. */
import { initTRPC } from '@trpc/server';
import { createExpressMiddleware, type CreateExpressContextOptions } from '@trpc/server/adapters/express';
import express from 'express';
import { createLlmRouter } from 'llm-service';
import { defineConfigs } from 'llm-service/config';
import { startSimulator } from 'llm-service/simulator';

const configs = defineConfigs({
  default: { model: 'claude-sonnet-5-5', max_tokens: 8_192, system_prompt: 'You are a capable, honest assistant.' },
});

// Stands for your table of users.
const users = new Map([['token-of-ann', 'ann']]);

export async function startApp(port: number) {
  const apiKey = process.env['ANTHROPIC_API_KEY'];
  const simulator = apiKey ? undefined : await startSimulator();
  const llm = createLlmRouter(configs, {
    apiKey: apiKey ?? 'none',
    ...(simulator && { baseUrl: simulator.url }),
    authenticate: ({ headers }) => {
      const name = users.get(headers.authorization?.replace('Bearer ', '') ?? '');
      return name === undefined ? undefined : { name };
    },
    logger: console,
  });

  const createContext = ({ req, res, info }: CreateExpressContextOptions) => ({ req, res, info });
  const t = initTRPC.context<typeof createContext>().create();
  const router = t.router({ hello: t.procedure.query(() => 'Hello'), llm: llm.llm });

  const app = express();
  app.get('/', (_, response) => void response.send('The API is at /trpc'));
  // The client sends POST for subscriptions, so that no prompt is in a URL.
  app.use('/trpc', createExpressMiddleware({ router, createContext, allowMethodOverride: true }));
  const server = app.listen(port, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));

  return {
    router,
    server,
    async [Symbol.asyncDispose]() {
      await llm[Symbol.asyncDispose](); // refuses new generations, and lets running ones finish
      server.closeAllConnections();
      server.close();
      await simulator?.[Symbol.asyncDispose]();
    },
  };
}

export type AppRouter = Awaited<ReturnType<typeof startApp>>['router'];

if (import.meta.main) await startApp(Number(process.env['PORT'] ?? 4000));
