import Anthropic from '@anthropic-ai/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { post, streaming } from './support/plain-client.ts';

finishesCleanly();

const docs = [{ title: 'GUIDE.md', text: '# Guide\n\nWelcome.\n\n## Cancelling\n\nCall `llm.cancel` to stop.\n' }];

let simulator: Simulator;
beforeEach(async () => {
  simulator = await startSimulator({ tokensPerSecond: 'unpaced', docs });
});
afterEach(() => simulator[Symbol.asyncDispose]());

type Message = Anthropic.MessageParam;

const timeIn = {
  name: 'timeIn',
  description: 'The present time in a city',
  input_schema: { type: 'object' as const, properties: { city: { type: 'string' } }, required: ['city'] },
};
const search = {
  name: 'search',
  description: 'Finds pages of the manual',
  input_schema: { type: 'object' as const, properties: { query: { type: 'string' } }, required: ['query'] },
};
const tools = [timeIn, search];

/** One step: the message that the SDK assembles from the answer. */
function step(messages: Message[], more: object = {}): Promise<Anthropic.Message> {
  const client = new Anthropic({ baseURL: simulator.url, apiKey: 'any', maxRetries: 0 });
  const body = { model: 'claude-sonnet-5-5', max_tokens: 10_000, tools, messages, ...more };
  return client.messages.stream(body).finalMessage();
}
const user = (content: Message['content']): Message => ({ role: 'user', content });
const ask = (question: string, more?: object) => step([user(question)], more);
const callsOf = ({ content }: Anthropic.Message) => content.filter((block) => block.type === 'tool_use');
const inputsOf = (message: Anthropic.Message) => callsOf(message).map(({ name, input }) => ({ name, input }));
const textOf = ({ content }: Anthropic.Message) =>
  content.map((block) => (block.type === 'text' ? block.text : '')).join('');

/** The messages of the next step: the answer as it was sent, and a result for each of its calls. */
const answered = (before: Message[], message: Anthropic.Message, content = '{"time":"12:00"}'): Message[] => [
  ...before,
  { role: 'assistant', content: message.content },
  user(callsOf(message).map(({ id }) => ({ type: 'tool_result' as const, tool_use_id: id, content }))),
];

describe('a question', () => {
  it('is answered by the tool whose words it shares, with an input that fits its schema', async () => {
    const message = await ask('What time is it in Oslo?');
    expect(message.stop_reason).toBe('tool_use');
    expect(inputsOf(message)).toEqual([{ name: 'timeIn', input: { city: 'Oslo' } }]);
  });

  it('about several things calls the tool for each at once, unless one call alone is allowed', async () => {
    const question = 'What time is it in New York and in Oslo?';
    expect(inputsOf(await ask(question))).toEqual([
      { name: 'timeIn', input: { city: 'New York' } },
      { name: 'timeIn', input: { city: 'Oslo' } },
    ]);
    const one = await ask(question, { tool_choice: { type: 'auto', disable_parallel_tool_use: true } });
    expect(inputsOf(one)).toEqual([{ name: 'timeIn', input: { city: 'New York' } }]);
  });

  it('that no tool’s words fit goes to a tool that searches, and else to the documents', async () => {
    const question = 'How does cancelling work?';
    expect(inputsOf(await ask(question))).toEqual([{ name: 'search', input: { query: question } }]);
    expect(textOf(await ask(question, { tools: [timeIn] }))).toContain('llm.cancel');
    expect(textOf(await ask('Hello!'))).toContain('I am the simulator');
  });

  it('calls no tool where the request allows none, nor one that the API runs itself', async () => {
    expect(callsOf(await ask('What time is it in Oslo?', { tool_choice: { type: 'none' } }))).toEqual([]);
    const own = [{ type: 'web_search_20260318', name: 'web_search' }];
    expect(callsOf(await ask('Do a web search', { tools: own }))).toEqual([]);
  });

  it('is answered by the tool that the request forces', async () => {
    const older = { model: 'claude-sonnet-4-6' };
    const named = await ask('Hello!', { ...older, tool_choice: { type: 'tool', name: 'search' } });
    expect(inputsOf(named)).toEqual([{ name: 'search', input: { query: 'Hello!' } }]);
    expect(callsOf(await ask('Hello!', { ...older, tool_choice: { type: 'any' } }))).toHaveLength(1);
  });

  it('begins with the thinking that the request asks for', async () => {
    const message = await ask('What time is it in Oslo?', { thinking: { type: 'adaptive' } });
    expect(message.content.map(({ type }) => type)).toEqual(['thinking', 'tool_use']);
  });
});

describe('an input', () => {
  const inputFor = async (properties: object, question = 'Book it', more: object = {}) => {
    const input_schema = { type: 'object', properties, required: Object.keys(properties), ...more };
    const tool = { name: 'book', description: 'Books', input_schema };
    const [call] = callsOf(await ask(question, { tools: [tool] }));
    return call!.input;
  };

  it('takes choices, numbers and names from the question', async () => {
    const properties = {
      size: { enum: ['small', 'large'] },
      seats: { type: 'integer' },
      where: { type: 'string' },
      note: { type: ['string', 'null'], maxLength: 3 },
    };
    const input = await inputFor(properties, 'Book a large table for 4 in "Da Mario"');
    expect(input).toEqual({ size: 'large', seats: 4, where: 'Da Mario', note: 'Da ' });
  });

  it('means nothing where the question has nothing for it', async () => {
    const properties = {
      size: { enum: ['small', 'large'] },
      seats: { type: 'integer', minimum: 2 },
      mail: { type: 'string', format: 'email' },
      day: { type: 'string', format: 'date' },
      sure: { type: 'boolean' },
      always: { const: 7 },
    };
    expect(await inputFor(properties)).toEqual({
      size: 'small',
      seats: 2,
      mail: 'someone@example.com',
      day: '2026-01-01',
      sure: false,
      always: 7,
    });
  });

  it('follows references, choices of schemas and lists, also of a schema that contains itself', async () => {
    const more = {
      $defs: { node: { type: 'object', properties: { next: { $ref: '#/$defs/node' } }, required: ['next'] } },
    };
    const properties = {
      list: { type: 'array', items: { anyOf: [{ type: 'null' }, { type: 'number' }] }, minItems: 2 },
      none: { type: 'array', items: { type: 'string' }, minItems: 0 },
    };
    expect(await inputFor(properties)).toEqual({ list: [1, 1], none: [] });
    expect(await inputFor({ node: { $ref: '#/$defs/node' } }, 'Book it', more)).toHaveProperty('node.next.next');
  });

  it('has no property that the schema doesn’t require', async () => {
    expect(await inputFor({ city: { type: 'string' } }, 'Book it', { required: [] })).toEqual({});
  });
});

describe('the results of tools', () => {
  it('are passed on, each with its call, and failures as such', async () => {
    const before = [user('What time is it in Oslo and in Bonn?')];
    const message = await step(before);
    const [oslo, bonn] = callsOf(message);
    const results = user([
      { type: 'tool_result', tool_use_id: oslo!.id, content: '{"time":"12:00"}' },
      { type: 'tool_result', tool_use_id: bonn!.id, content: [{ type: 'text', text: 'No clock' }], is_error: true },
    ]);
    const { stop_reason: reason, ...end } = await step([
      ...before,
      { role: 'assistant', content: message.content },
      results,
    ]);
    expect(reason).toBe('end_turn');
    expect(textOf(end as Anthropic.Message)).toMatch(
      /\*\*timeIn\*\* \(city: Oslo\) gave:\n\n- time: 12:00\n\n\*\*timeIn\*\* \(city: Bonn\) failed:\n\n> No clock\n/,
    );
  });

  it('are found under the question, which stays the same for every step', async () => {
    const before = [user('/sim tool 3')];
    let messages = before;
    for (const reason of ['tool_use', 'tool_use', 'tool_use', 'end_turn']) {
      const message = await step(messages);
      expect(message.stop_reason).toBe(reason);
      messages = answered(messages, message);
    }
  });

  it('end a command that would call on where no call is allowed any more', async () => {
    const before = [user('/sim tool 1000')];
    const message = await step(before);
    expect((await step(answered(before, message), { tool_choice: { type: 'none' } })).stop_reason).toBe('end_turn');
  });
});

describe('a command', () => {
  it('calls a tool by its name, also one that the request doesn’t have', async () => {
    expect(inputsOf(await ask('/sim tool search'))).toMatchObject([{ name: 'search', input: { query: '' } }]);
    expect(inputsOf(await ask('/sim tool nowhere'))).toMatchObject([{ name: 'nowhere' }]);
  });

  it('calls several tools at once', async () => {
    expect(callsOf(await ask('/sim tools 3')).map(({ name }) => name)).toEqual(['timeIn', 'search', 'timeIn']);
    expect(callsOf(await ask('/sim tools'))).toHaveLength(2);
  });

  it('calls one with an input that is no JSON', async () => {
    const { text } = await post(simulator.url, streaming('/sim tool_broken', { tools }));
    expect(await text).toMatch(/"partial_json":"javík.*"stop_reason":"tool_use"/s);
  });

  it('pauses a turn, which goes on where its content is sent back', async () => {
    const own = { tools: [{ type: 'web_search_20260318', name: 'web_search' }] };
    const before = [user('/sim pause_turn')];
    const paused = await step(before, own);
    expect(paused.stop_reason).toBe('pause_turn');
    const end = await step([...before, { role: 'assistant', content: paused.content }], own);
    expect(end.stop_reason).toBe('end_turn');
    expect(end.content.map(({ type }) => type)).toEqual(['web_search_tool_result', 'text']);
    expect(simulator.requests[1]).toMatchObject({ continues: simulator.requests[0]!.id, changedPrefix: undefined });
  });
});

describe('a request that continues an answer', () => {
  const before = [user('What time is it in Oslo?')];
  const more = { system: 'Be brief.', thinking: { type: 'adaptive' } };
  const [first, second] = [() => simulator.requests[0]!, () => simulator.requests[1]!];

  it('continues it unchanged where its prefix is the same, whatever may be called and wherever the cache is marked', async () => {
    const message = await step(before, { ...more, system: [{ type: 'text', text: 'Be brief.' }] });
    const marked = [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }];
    await step(answered(before, message), { ...more, system: marked, tool_choice: { type: 'none' } });
    expect(first().continues).toBeUndefined();
    expect(second()).toMatchObject({ continues: first().id, changedPrefix: undefined });
  });

  it('continues nothing where it only begins as the other one did', async () => {
    await step(before, more);
    await step(before, more);
    expect(second().continues).toBeUndefined();
  });

  it.each<[part: string, change: (messages: [Message, Message, Message]) => object]>([
    ['tools', () => ({ tools: [timeIn] })],
    ['system', () => ({ system: 'Be long.' })],
    ['thinking', () => ({ thinking: { type: 'adaptive', display: 'omitted' } })],
    ['messages', ([, ...others]) => ({ messages: [user('What time is it?'), ...others] })],
    [
      'answer',
      ([question, { content }, results]) => ({
        messages: [question, { role: 'assistant', content: (content as object[]).slice(1) }, results],
      }),
    ],
  ])('names %s where that is not as it was', async (part, change) => {
    const messages = answered(before, await step(before, more));
    await step(messages, { ...more, ...change(messages as [Message, Message, Message]) });
    expect(second()).toMatchObject({ continues: first().id, changedPrefix: part });
  });

  it('is refused where the thinking was changed', async () => {
    const message = await step(before, more);
    const [thinking, ...others] = message.content as [Anthropic.ThinkingBlock, ...Anthropic.ContentBlock[]];
    const changed = { ...message, content: [{ ...thinking, thinking: 'Something else.' }, ...others] };
    await expect(step(answered(before, changed), more)).rejects.toThrow(/cannot be modified/);
  });
});

describe('it refuses, as the API does,', () => {
  const call = (id: string) => ({ type: 'tool_use', id, name: 'timeIn', input: {} });
  const result = (id: string) => ({ type: 'tool_result', tool_use_id: id, content: 'x' });
  const talk = (...contents: unknown[]) => ({
    messages: contents.map((content, index) => ({ role: index % 2 === 0 ? 'user' : 'assistant', content })),
  });
  const custom = (more: object) => ({ tools: [{ ...timeIn, ...more }] });
  const forced = (type: string, more: object = {}) => ({ tools, tool_choice: { type }, ...more });

  const refused: Record<string, [more: object, message: string | RegExp]> = {
    'a name with blanks': [custom({ name: 'time in' }), /^tools\.0\.custom\.name: String should match pattern/],
    'a tool without a schema': [custom({ input_schema: undefined }), 'tools.0.custom.input_schema: Field required'],
    'an input that is no object': [
      custom({ input_schema: { type: 'string' } }),
      "tools.0.custom.input_schema.type: Input should be 'object'",
    ],
    'two tools of one name': [{ tools: [timeIn, timeIn] }, 'tools: Tool names must be unique.'],
    'a choice without tools': [
      { tool_choice: { type: 'auto' } },
      'tool_choice: tool_choice may only be specified while providing tools',
    ],
    'a choice of an unknown kind': [forced('some'), /^tool_choice: Input tag 'some' found/],
    'any tool, forced, for 5.5': [forced('any'), /forced tool use is not supported by claude-sonnet-5-5/],
    'one tool, forced, for 5.5': [forced('tool', { model: 'claude-opus-5-5' }), /not supported by claude-opus-5-5/],
    'the choice of a tool that isn’t there': [
      { tools, model: 'claude-sonnet-4-6', tool_choice: { type: 'tool', name: 'nowhere' } },
      "tool_choice.tool.name: Tool 'nowhere' not found in provided tools",
    ],
    'a forced choice with thinking': [
      forced('any', { model: 'claude-sonnet-4-6', thinking: { type: 'adaptive' } }),
      'Thinking may not be enabled when tool_choice forces tool use.',
    ],
    'a call without its result': [
      talk('Hi', [call('a'), call('b')], [result('a')]),
      /^messages\.1: `tool_use` ids were found without `tool_result` blocks immediately after: b\. /,
    ],
    'a call at the end': [talk('Hi', [call('a')]), /^messages\.1: `tool_use` ids were found without/],
    'a result after a text': [
      talk('Hi', [call('a')], [{ type: 'text', text: 'Here:' }, result('a')]),
      /^messages\.1: `tool_use` ids were found without/,
    ],
    'a result without its call': [
      talk('Hi', 'Hello', [result('a')]),
      /^messages\.2\.content\.0: unexpected `tool_use_id` found in `tool_result` blocks: a\. /,
    ],
    'two results of one call': [
      talk('Hi', [call('a')], [result('a'), result('a')]),
      /^messages\.2\.content\.1: each tool_use must have a single result/,
    ],
    'one id for two calls': [
      talk('Hi', [call('a'), call('a')], [result('a')]),
      'messages: `tool_use` ids must be unique',
    ],
  };

  it.each(Object.entries(refused))('%s', async (_name, [more, message]) => {
    const { status, text } = await post(simulator.url, streaming('Hi', more));
    expect(status).toBe(400);
    expect((JSON.parse(await text) as { error: { message: string } }).error.message).toMatch(message);
  });
});
