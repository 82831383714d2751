import { describe, expect, it } from 'vitest';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

describe.each(doors)('over $name', (door) => {
  it('an answer arrives whole: start first, its text, one terminal event last', async () => {
    const deltas = Array.from({ length: 500 }, (_, index) => `tök${index}🙂 "\\\n`);
    test.current.upstream.enqueue({ kind: 'text', text: deltas });
    const seen = await readAll(door.stream(test.current.url, ask('hi')));
    expect(seen[0]!.event).toMatchObject({ type: 'start', config: 'default', simulated: false, protocol: 1 });
    expect(textOf(seen)).toBe(deltas.join(''));
    expect(terminalOf(seen)).toMatchObject({ type: 'done', stopReason: 'end_turn', usage: { estimated: false } });
  });

  it('every event carries an id of its generation, and offsets rise', async () => {
    test.current.upstream.enqueue({ kind: 'text', text: ['a', 'b', 'c'] });
    const generationId = crypto.randomUUID();
    const seen = await readAll(door.stream(test.current.url, ask('hi', { generationId })));
    const offsets = seen.map(({ id }) => Number(id.replace(`${generationId}:`, '')));
    expect(offsets[0]).toBe(0);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    expect(new Set(offsets).size).toBe(offsets.length);
    expect(offsets.every(Number.isInteger)).toBe(true);
  });

  it('start goes out before upstream has answered', async () => {
    test.current.upstream.enqueue({ kind: 'manual' });
    const view = door.stream(test.current.url, ask('hi'));
    const request = await test.current.upstream.nextRequest();
    await view.until((event) => event.type === 'start');
    expect(request.bytesSent).toBe(0);
    await request.text('late');
    request.finish();
    expect(textOf(await readAll(view))).toBe('late');
  });

  it('a token is passed on as soon as upstream sends it', async () => {
    test.current.upstream.enqueue({ kind: 'manual' });
    const view = door.stream(test.current.url, ask('hi'));
    const request = await test.current.upstream.nextRequest();
    for (const token of ['one', 'two', 'three']) {
      await request.text(token);
      await view.until((event) => event.type === 'text' && event.text === token);
    }
    request.finish();
    await readAll(view);
  });

  it('the same request under the same id attaches, and upstream is called once', async () => {
    test.current.upstream.enqueue({ kind: 'text', text: ['once ', 'only'] });
    const request = ask('hi', { generationId: crypto.randomUUID() });
    const [first, second] = await Promise.all([
      readAll(door.stream(test.current.url, request)),
      readAll(door.stream(test.current.url, request)),
    ]);
    const third = await readAll(door.stream(test.current.url, request));
    for (const seen of [first, second, third]) expect(textOf(seen)).toBe('once only');
    expect(test.current.upstream.requestCount).toBe(1);
  });

  it('a generation is followed by its id, from the beginning or from a cursor', async () => {
    test.current.upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const view = door.stream(test.current.url, ask('hi', { generationId }));
    const request = await test.current.upstream.nextRequest();
    await request.text('one ');
    const { id: lastEventId } = await view.until((event) => event.type === 'text');
    const whole = door.follow(test.current.url, { generationId });
    const followed = door.follow(test.current.url, { generationId, lastEventId });
    await request.text('two');
    request.finish();
    expect(textOf(await readAll(whole))).toBe('one two');
    expect(textOf(await readAll(followed))).toBe('two');
    expect(textOf(await readAll(view))).toBe('one two');
  });

  it('a cursor at the terminal event completes at once, without events', async () => {
    const generationId = crypto.randomUUID();
    const seen = await readAll(door.stream(test.current.url, ask('hi', { generationId })));
    const { id: lastEventId } = seen.at(-1)!;
    expect(await readAll(door.follow(test.current.url, { generationId, lastEventId }))).toEqual([]);
    expect(await readAll(door.stream(test.current.url, ask('hi', { generationId, lastEventId })))).toEqual([]);
    expect(test.current.upstream.requestCount).toBe(1);
  });

  it('a lastEventId names its generation if there is no generationId', async () => {
    const seen = await readAll(door.stream(test.current.url, ask('hi')));
    const missed = await readAll(door.stream(test.current.url, ask('hi', { lastEventId: seen[0]!.id })));
    expect(textOf(missed)).toBe(textOf(seen));
    expect(missed.at(-1)).toEqual(seen.at(-1));
    expect(test.current.upstream.requestCount).toBe(1);
  });

  it('blocks that hold keys superjson refuses arrive as they are', async () => {
    const block = {
      type: 'tool_use',
      id: 'toolu_1',
      name: 'make',
      input: { constructor: 'x', prototype: { y: [1, null] } },
    };
    test.current.upstream.enqueue({ kind: 'blocks', blocks: [block] });
    const seen = await readAll(door.stream(test.current.url, ask('hi')));
    expect(seen.find(({ event }) => event.type === 'block')?.event).toMatchObject({ block });
    expect(terminalOf(seen).type).toBe('done');
  });
});
