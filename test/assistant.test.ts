/** The config `assistant`, as `npm start` serves it: without a key the simulator calls its two tools. */
import { describe, expect, it } from 'vitest';
import configs from '../llm.config.ts';
import { timeIn } from '../llm.tools.ts';
import { toolIn } from '../src/tools/tool.ts';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest({ configs: configs as never, simulator: { docs: undefined as never } });

describe.each(doors)('over $name', (door) => {
  it('"What time is it in Oslo?" is answered from the call of a tool', async () => {
    const question = ask('What time is it in Oslo?', { config: 'assistant' });
    const seen = await readAll(door.stream(test.current.url, question));
    const events = seen.map(({ event }) => event);
    const said: ReadonlySet<string> = new Set(['text', 'thinking', 'block']);
    expect(events.map(({ type }) => type).filter((type) => !said.has(type))).toEqual([
      'start',
      'tool_start',
      'tool_call',
      'tool_result',
      'step',
      'done',
    ]);
    expect(events.find(({ type }) => type === 'tool_call')).toMatchObject({ name: 'timeIn', input: { city: 'Oslo' } });
    const output = { city: 'Oslo', time_zone: 'Europe/Oslo', time: expect.stringMatching(/\d\d:\d\d$/) };
    expect(events.find(({ type }) => type === 'tool_result')).toMatchObject({ name: 'timeIn', ok: true, output });
    expect(textOf(seen)).toContain('- time_zone: Europe/Oslo');
    expect(terminalOf(seen)).toMatchObject({ type: 'done', stopReason: 'end_turn', steps: 2 });
  });
});

it('a question about this service is answered from its documents', async () => {
  const question = ask('How does resume work?', { config: 'assistant' });
  const seen = await readAll(doors[0]!.stream(test.current.url, question));
  const result = seen.map(({ event }) => event).find(({ type }) => type === 'tool_result');
  expect(result).toMatchObject({ name: 'searchDocuments', ok: true });
  expect(textOf(seen)).toMatch(/document: (README|ARCHITECTURE|PROTOCOL)\.md/);
});

describe('the time', () => {
  const { execute } = toolIn(timeIn)!.raw as { execute(input: { city: string }): { readonly time_zone: string } };

  it.each([
    ['Oslo', 'Europe/Oslo'],
    ['new york', 'America/New_York'],
    ['São Paulo', 'America/Sao_Paulo'],
    ['San Francisco', 'America/Los_Angeles'],
    ['Osaka', 'Asia/Tokyo'],
  ])('in %s is that of %s', (city, zone) => {
    expect(execute({ city }).time_zone).toBe(zone);
  });

  it.each(['Mumbai', 'Delhi'])('in %s is that of Kolkata, by its new name or its old one', (city) => {
    expect(execute({ city }).time_zone).toMatch(/^Asia\/(Kolkata|Calcutta)$/);
  });

  it('in a city that nobody knows is a failure, which the model can read', () => {
    expect(() => execute({ city: 'Atlantis' })).toThrow('No time zone is known for Atlantis');
  });
});
