import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import { EventList } from '../src/stream-log/event-list.ts';

const event: fc.Arbitrary<LlmEvent> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constantFrom('text' as const, 'text' as const, 'thinking' as const),
      index: fc.nat(1),
      // With halves of surrogate pairs, because upstream may cut a pair in two.
      text: fc.string({ unit: fc.constantFrom('a', 'é', '字', '\ud83d', '\ude42'), maxLength: 6 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('block' as const),
      index: fc.nat(1),
      block: fc.record({ type: fc.constant('tool_use'), input: fc.jsonValue() }),
    }),
  },
) as fc.Arbitrary<LlmEvent>;

/** The batches that a reader with this bound gets. */
function read(list: EventList, from: number, bytesMax: number) {
  const batches = [];
  for (let at = from; at < list.length;) {
    const { events, end } = list.slice(at, bytesMax);
    batches.push(events);
    expect(end).toBeGreaterThan(at);
    expect(events.at(-1)!.offset).toBe(end - 1);
    at = end;
  }
  return batches;
}

it('a reader gets all events after any offset, in order, with nothing merged but adjacent text of one block', () => {
  // A run is closed at 128 pieces, so the lists are longer than that.
  const lists = fc.array(fc.array(event, { maxLength: 150 }), { maxLength: 4, size: 'max' });
  fc.assert(
    fc.property(lists, fc.nat(), fc.integer({ min: 1, max: 300 }), (appended, somewhere, bytesMax) => {
      const list = new EventList();
      for (const events of appended) list.push(list.weigh(events));
      const all = appended.flat();
      expect(list.length).toBe(all.length);
      expect(list.text()).toBe(all.map((each) => (each.type === 'text' ? each.text : '')).join(''));

      const from = all.length === 0 ? 0 : somewhere % all.length;
      let next = from;
      for (const { offset, event: given } of read(list, from, bytesMax).flat()) {
        const covered = all.slice(next, offset + 1);
        next = offset + 1;
        if (typeof given === 'string') {
          expect(covered).toHaveLength(1);
          expect(given).toBe(JSON.stringify(covered[0]));
        } else {
          for (const each of covered) expect(each).toMatchObject({ type: given.type, index: given.index });
          expect(given.text).toBe(covered.map((each) => ('text' in each ? each.text : '')).join(''));
        }
      }
      expect(next).toBe(all.length);
    }),
    { numRuns: 200 },
  );
});

it('a batch is no larger than its bound, unless one event is', () => {
  const list = new EventList();
  list.push(
    list.weigh(Array.from({ length: 1_000 }, () => ({ type: 'text', index: 0, text: 'é'.repeat(5) }) as const)),
  );
  list.push(list.weigh([{ type: 'text', index: 1, text: 'x'.repeat(5_000) }]));
  list.push(list.weigh([{ type: 'text', index: 2, text: 'y' }]));
  const batches = read(list, 0, 95).map((events) => events.map(({ event: given }) => (given as { text: string }).text));
  expect(batches.slice(0, -2).every(([text]) => text!.length === 45 || text!.length === 5)).toBe(true);
  expect(batches.slice(-2)).toEqual([['x'.repeat(5_000)], ['y']]);
});

it('weighing returns what will be held, and adds nothing', () => {
  const list = new EventList();
  const token = { type: 'text', index: 0, text: 'token' } as const;
  const first = list.weigh([token]).bytes;
  list.push(list.weigh([token]));
  expect(list.weigh([token]).bytes).toBeLessThan(first);
  expect(list.weigh([token, token]).bytes).toBe(2 * list.weigh([token]).bytes);
  expect(list.length).toBe(1);
});

it('a letter beyond ASCII makes two bytes of each letter of its run, before it and after it, and of no other run', () => {
  const chars = 1_000;
  const text = (letters: string, index = 0) => ({ type: 'text', index, text: letters }) as const;
  const plain = text('x'.repeat(chars));
  const weight = (...batches: readonly (readonly LlmEvent[])[]) => {
    const list = new EventList();
    let bytes = 0;
    for (const batch of batches) {
      const weighed = list.weigh(batch);
      bytes += weighed.bytes;
      list.push(weighed);
    }
    return bytes;
  };
  const narrow = weight([plain, text('-'), plain]);
  for (const batches of [[[plain, text('—'), plain]], [[plain], [text('—'), plain]], [[plain], [text('—')], [plain]]]) {
    expect(weight(...batches) - narrow).toBeGreaterThanOrEqual(2 * chars);
    expect(weight(...batches) - narrow).toBeLessThan(2 * chars + 10);
  }
  expect(weight([plain], [text('—', 1)], [text('x'.repeat(chars), 2)]) - narrow).toBeLessThan(chars);
});
