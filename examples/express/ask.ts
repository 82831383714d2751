/** Asks the app of server.ts, as a client with a token of its user would. */
import type { AddressInfo } from 'node:net';
import { createLlmClient } from 'llm-service/client';
import { startApp, type AppRouter } from './server.ts';

const app = await startApp(0);
const { port } = app.server.address() as AddressInfo;
const plain = { serialize: (value: unknown) => value, deserialize: (wire: unknown) => wire };
const llm = createLlmClient<AppRouter>({
  url: `http://127.0.0.1:${port}/trpc`,
  transport: 'sse',
  token: 'token-of-ann',
  transformer: plain, // the app's router has none
});
console.log(await llm.trpc.hello.query());
console.log(await llm.stream({ config: 'default', messages: [{ role: 'user', content: 'What is a viewer?' }] }).text());
await llm.close();
await app[Symbol.asyncDispose]();
