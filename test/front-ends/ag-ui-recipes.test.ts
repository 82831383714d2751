/** The recipes of docs/front-ends.md: those for other people's clients compile, and those for AG-UI, TanStack AI and assistant-ui do what the page says. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { LocalRuntimeCore } from '@assistant-ui/core/internal';
import type { ChatModelAdapter, ThreadHistoryAdapter } from '@assistant-ui/react';
import type { AbstractAgent, HttpAgent } from '@ag-ui/client';
import { ChatClient, type ConnectConnectionAdapter } from '@tanstack/ai-client';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createLlmClient, type LlmClient } from '../../src/client.ts';
import type { AnyConfigRouter } from '../support/doors.ts';
import { until } from '../support/eventually.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { recipesOnDisk } from '../support/recipes.ts';
import { plainConfig, serviceForEachTest } from '../support/service.ts';

finishesCleanly();
const recipes = recipesOnDisk();

type Llm = LlmClient<AnyConfigRouter>;
interface Recipes {
  readonly 'agent.ts': { agentOf(llm: Llm, threadId: string): AbstractAgent };
  readonly 'http-agent.ts': { httpAgentOf(service: string): HttpAgent };
  readonly 'tanstack-door.ts': { connectionOf(service: string): ConnectConnectionAdapter };
  readonly 'tanstack-connection.ts': {
    connectionOf(llm: Llm): ConnectConnectionAdapter;
    stop(llm: Llm, chat: ChatClient, threadId: string): Promise<void>;
  };
  readonly 'assistant-ui.ts': {
    chatModelOf(llm: Llm, thread: string): ChatModelAdapter;
    historyOf(llm: Llm, thread: string, stored: object): ThreadHistoryAdapter;
  };
}
const recipe = async <Name extends keyof Recipes>(name: Name): Promise<Recipes[Name]> =>
  import(/* @vite-ignore */ join(recipes.folder, name));

const test = serviceForEachTest({ configs: { default: { ...plainConfig, on_disconnect: 'continue' } } });
let llm: Llm;
beforeEach(() => {
  llm = createLlmClient<AnyConfigRouter>({ url: test.current.url, transport: 'ws' });
});
afterEach(() => llm.close());

const manual = async () => {
  const request = await test.current.upstream.nextRequest();
  await request.text('half ');
  return request;
};

it('all of them compile, as they would in an app', async () => {
  const { folder } = recipes;
  const project = { extends: '../tsconfig.json', compilerOptions: { jsx: 'react-jsx' }, include: ['.'] };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(project));
  const tsc = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', folder], { cwd: folder }).catch(
    (error: { stdout: string }) => error,
  );
  // Problems of the package itself are found by `npm run check`.
  expect(stdout.split('\n').filter((line) => /^[\w-]/.test(line) || line.includes(basename(folder)))).toEqual([]);
});

it('the agents: one over the client, one on the door', async () => {
  const agents = [
    (await recipe('agent.ts')).agentOf(llm, 'chat'),
    (await recipe('http-agent.ts')).httpAgentOf(test.current.url),
  ];
  for (const agent of agents) {
    agent.addMessage({ id: '1', role: 'user', content: '/sim echo Hello' });
    await agent.runAgent();
    expect(agent.messages.at(-1)).toMatchObject({ role: 'assistant', content: 'Hello' });
  }
});

/** The texts of the assistant's messages, as the chat shows them. */
const textsIn = (
  messages: readonly { readonly role: string; readonly parts?: unknown; readonly content?: unknown }[],
) =>
  messages
    .filter(({ role }) => role === 'assistant')
    .map(({ parts, content }) => (parts ?? content) as readonly { type: string; content?: string; text?: string }[])
    .map((parts) => parts.map(({ type, content, text }) => (type === 'text' ? (content ?? text) : '')).join(''));

it('TanStack: both connections answer', async () => {
  const connections = [
    (await recipe('tanstack-door.ts')).connectionOf(test.current.url),
    (await recipe('tanstack-connection.ts')).connectionOf(llm),
  ];
  for (const [at, connection] of connections.entries()) {
    const chat = new ChatClient({ connection, threadId: `chat ${at}` });
    await chat.sendMessage('/sim echo Hello');
    await chat.sendMessage('/sim echo World');
    expect(textsIn(chat.getMessages())).toEqual(['Hello', 'World']);
    chat.dispose();
  }
});

it('TanStack over the client: leaving keeps the answer, a reload finds it, the button stops it', async () => {
  const { connectionOf, stop } = await recipe('tanstack-connection.ts');
  test.current.upstream.enqueue({ kind: 'manual' });
  const chat = new ChatClient({ connection: connectionOf(llm), threadId: 'chat' });
  const sending = chat.sendMessage('hi');
  const request = await manual();
  await until(() => textsIn(chat.getMessages())[0] === 'half ');
  chat.dispose();
  await sending;
  await until(() => test.current.service.core.access.load.viewers === 0);

  const reloaded = new ChatClient({ connection: connectionOf(llm), threadId: 'chat', persistence: true } as never);
  reloaded.attach();
  await request.text('and ');
  await until(() => textsIn(reloaded.getMessages())[0] === 'half and ');
  await stop(llm, reloaded, 'chat');
  expect(await request.outcome).toBe('client_closed');
  reloaded.dispose();
});

/** A store as an app has it, and threads of assistant-ui's LocalRuntime over it. */
async function assistantUi() {
  const { chatModelOf, historyOf } = await recipe('assistant-ui.ts');
  const items: object[] = [];
  const stored = { read: async () => structuredClone(items), add: async (item: object) => void items.push(item) };
  return () => {
    const adapters = { chatModel: chatModelOf(llm, 'chat'), history: historyOf(llm, 'chat', stored) };
    return new LocalRuntimeCore({ adapters }, undefined).threads.getMainThreadRuntimeCore();
  };
}
const question = (text: string) => ({
  role: 'user' as const,
  parentId: null,
  sourceId: null,
  runConfig: {},
  content: [{ type: 'text' as const, text }],
  attachments: [],
  metadata: { custom: {} },
  createdAt: new Date(),
});

it('assistant-ui: an answer, with thinking and account', async () => {
  test.current.upstream.enqueue({ kind: 'text', text: 'Hello' });
  const thread = (await assistantUi())();
  await thread.__internal_load();
  await thread.append(question('hi') as never);
  await until(() => thread.messages.at(-1)?.status?.type === 'complete');
  expect(textsIn(thread.messages as never)).toEqual(['Hello']);
  expect(thread.messages.at(-1)!.metadata.custom).toMatchObject({ usage: { estimated: false } });
});

it('assistant-ui: cancelRun stops the answer upstream', async () => {
  test.current.upstream.enqueue({ kind: 'manual' });
  const thread = (await assistantUi())();
  await thread.__internal_load();
  const asking = thread.append(question('hi') as never);
  const request = await manual();
  await until(() => textsIn(thread.messages as never)[0] === 'half ');
  thread.cancelRun();
  await asking;
  expect(await request.outcome).toBe('client_closed');
  expect(thread.messages.at(-1)!.status).toEqual({ type: 'incomplete', reason: 'cancelled' });
});

it('assistant-ui: whoever leaves the page finds the whole answer, once, when they come back', async () => {
  test.current.upstream.enqueue({ kind: 'manual' });
  const open = await assistantUi();
  const thread = open();
  await thread.__internal_load();
  const asking = thread.append(question('hi') as never);
  const request = await manual();
  await until(() => textsIn(thread.messages as never)[0] === 'half ');
  thread.detach();
  await asking;
  await until(() => test.current.service.core.access.load.viewers === 0);

  const back = open();
  await back.__internal_load();
  await request.text('and half');
  request.finish();
  await until(() => back.messages.at(-1)?.status?.type === 'complete');
  expect(back.messages.map(({ role }) => role)).toEqual(['user', 'assistant']);
  expect(textsIn(back.messages as never)).toEqual(['half and half']);
  expect(await request.outcome).not.toBe('client_closed');
  expect(test.current.upstream.requestCount).toBe(1);
});
