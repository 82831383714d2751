/** Tools, objects and histories over the whole way: the typed client, the service, and upstream. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createLlmClient } from '../src/client.ts';
import type { ScriptedBlock } from '../src/simulator.ts';
import { clientTool, tool } from '../src/tools/tool.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';
import { bySteps, call, city, message, resultsIn, text, withTools } from './support/tool-scripts.ts';

finishesCleanly();

const pick = clientTool({ description: 'Picks', input: city, output: z.object({ file: z.string() }) });
const weather = tool({
  description: 'Weather',
  input: city,
  output: z.object({ celsius: z.number() }),
  execute: ({ city: name }) => ({ celsius: name.length }),
});
const secret = tool({ description: 'Secret', input: city, hidden: true, execute: () => 'hidden' });
const output = z.object({ title: z.string(), pages: z.int() });
const test = serviceForEachTest({
  configs: { default: withTools({ pick, weather, secret }), book: withTools({ weather }, { output }) },
});

const connect = (transport: 'sse' | 'ws') =>
  createLlmClient<AnyConfigRouter>({ url: test.current.url, transport, reconnect: { delayMs: 1, delayMsMax: 10 } });

/** Replies of upstream: a text and these calls, then a text. */
function calling(...calls: readonly ScriptedBlock[]): void {
  test.current.upstream.respondWith(
    bySteps(
      () => message(text('Let me look.'), ...calls),
      () => message(text('There.')),
    ),
  );
}

describe.each(['sse', 'ws'] as const)('over %s', (transport) => {
  it('a handler answers a call, and the answer goes on with what it returned', async () => {
    calling(call('p', 'pick', { city: 'Oslo' }));
    await using llm = connect(transport);
    const run = llm.stream(ask('hi'), { tools: { pick: (input) => ({ file: JSON.stringify(input) }) } });
    expect(await run.text()).toBe('Let me look.There.');
    expect(resultsIn(test.current.upstream.requests[1]!)).toEqual({ p: '{"file":"{\\"city\\":\\"Oslo\\"}"}' });
  });

  it('two clients are asked, the first to answer wins, and both see the same answer', async () => {
    calling(call('p', 'pick', { city: 'Oslo' }));
    await using one = connect(transport);
    await using other = connect(transport);
    const request = { ...ask('hi'), generationId: crypto.randomUUID() };
    const answers: ((file: string) => void)[] = [];
    const handler = () => new Promise<unknown>((resolve) => answers.push((file) => resolve({ file })));
    const runs = [one, other].map((llm) => llm.stream(request, { tools: { pick: handler } }).text());
    await until(() => answers.length === 2);
    answers[1]!('first');
    expect(await Promise.all(runs)).toEqual(['Let me look.There.', 'Let me look.There.']);
    answers[0]!('second');
    expect(resultsIn(test.current.upstream.requests[1]!)).toEqual({ p: '{"file":"first"}' });
    expect(test.current.upstream.requestCount).toBe(2);
  });

  it('an object comes after the calls of tools, whole and in parts', async () => {
    test.current.upstream.respondWith(
      bySteps(
        () => message(text('{"title": "not this"}'), call('w', 'weather', { city: 'Oslo' })),
        () => message(text('{"title": "Emma 🙂", "pages": 474}')),
      ),
    );
    await using llm = connect(transport);
    const run = llm.stream(ask('hi', { config: 'book' }));
    const partials: unknown[] = [];
    for await (const partial of run.partials()) partials.push(partial);
    expect(partials.at(-1)).toEqual({ title: 'Emma 🙂', pages: 474 });
    expect(await run.object()).toEqual({ title: 'Emma 🙂', pages: 474 });
    expect(test.current.upstream.requestCount).toBe(2);
  });
});

it('the messages of an answer are those that upstream has seen of it, and its last', async () => {
  calling(call('w', 'weather', { city: 'Oslo' }), call('p', 'pick', { city: 'Rome' }));
  await using llm = connect('sse');
  const run = llm.stream(ask('hi'), { tools: { pick: () => ({ file: 'a.txt' }) } });
  const messages = await run.messages();
  const { body } = test.current.upstream.requests[1]!;
  expect(messages).toEqual([...body.messages.slice(1), { role: 'assistant', content: [text('There.')] }]);

  // Upstream takes them, with an answer to them.
  test.current.upstream.enqueue(message(text('Bye')));
  const next = [...ask('hi').messages, ...messages, { role: 'user' as const, content: 'Thanks' }];
  expect(await llm.stream({ config: 'default', messages: next }).text()).toBe('Bye');
});

it('a hidden call is not among the messages, and upstream takes what is left', async () => {
  calling(call('s', 'secret', { city: 'Oslo' }));
  await using llm = connect('sse');
  const messages = await llm.stream(ask('hi')).messages();
  expect(messages).toEqual([{ role: 'assistant', content: [text('Let me look.'), text('There.')] }]);
  test.current.upstream.enqueue(message(text('Bye')));
  const next = [...ask('hi').messages, ...messages, { role: 'user' as const, content: 'Thanks' }];
  expect(await llm.stream({ config: 'default', messages: next }).text()).toBe('Bye');
});
