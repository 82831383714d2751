import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { SpentIds } from '../src/stream-log/spent-ids.ts';

const key = (generationId: string, caller = 'ada') => ({ caller, generationId });

describe('spent ids', () => {
  it('are remembered for their time, for their caller', () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      const ids = new SpentIds(10);
      ids.add(key('a'), 1_000);
      expect(ids.has(key('a'))).toBe(true);
      expect(ids.has(key('a', 'eve'))).toBe(false);
      vi.setSystemTime(Date.now() + 1_000);
      expect(ids.has(key('a'))).toBe(false);
      ids.add(key('a'), 1_000);
      expect(ids.has(key('a'))).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  it('are the newest ones, as many as the bound allows, whatever was added', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.array(fc.nat(99), { maxLength: 300 }), (max, added) => {
        const ids = new SpentIds(max);
        const reference: number[] = [];
        for (const id of added) {
          ids.add(key(String(id)), 60_000);
          if (!reference.includes(id)) reference.push(id);
          if (reference.length > max) reference.shift();
        }
        for (let id = 0; id < 100; id += 1) expect(ids.has(key(String(id)))).toBe(reference.includes(id));
      }),
    );
  });

  it('of one caller are never forgotten in favour of another caller that has more', () => {
    const ids = new SpentIds(1_000);
    for (let id = 0; id < 300; id += 1) ids.add(key(String(id)), 60_000);
    for (let id = 0; id < 100_000; id += 1) ids.add(key(String(id), 'eve'), 60_000);
    for (let id = 0; id < 300; id += 1) expect(ids.has(key(String(id)))).toBe(true);
    expect(ids.count('eve')).toBe(700);
    expect(ids.has(key('99999', 'eve'))).toBe(true);
  });

  it('whose time is over are forgotten before any other', () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      const ids = new SpentIds(4);
      ids.add(key('over'), 1_000);
      for (const id of ['a', 'b']) ids.add(key(id, 'eve'), 120_000);
      ids.add(key('also over'), 1_000);
      vi.setSystemTime(Date.now() + 60_000);
      for (const id of ['c', 'd']) ids.add(key(id, 'eve'), 120_000);
      for (const id of ['a', 'b', 'c', 'd']) expect(ids.has(key(id, 'eve'))).toBe(true);
      expect(ids.count('ada')).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('agree with a plain list per caller, whoever adds', () => {
    const turns = fc.array(fc.tuple(fc.constantFrom('ada', 'bob', 'eve'), fc.nat(30)), { maxLength: 200 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), turns, (max, added) => {
        const ids = new SpentIds(max);
        const reference = new Map<string, number[]>();
        for (const [caller, id] of added) {
          ids.add(key(String(id), caller), 60_000);
          const mine = reference.get(caller) ?? [];
          if (mine.includes(id)) continue;
          const sizes = [...reference.values()].map(({ length }) => length);
          const all = sizes.reduce((sum, size) => sum + size, 0);
          // If several have equally many, it is not specified which one loses an id, so the model follows what the code
          // did.
          if (all === max) {
            const gone = [...reference].filter(([owner, [oldest]]) => !ids.has(key(String(oldest), owner)));
            expect(gone).toHaveLength(1);
            expect(gone[0]![1]).toHaveLength(Math.max(...sizes));
            gone[0]![1].shift();
            if (gone[0]![1].length === 0) reference.delete(gone[0]![0]);
          }
          reference.set(caller, [...(reference.get(caller) ?? []), id]);
        }
        for (const [owner, mine] of reference) {
          for (const id of mine) expect(ids.has(key(String(id), owner))).toBe(true);
          expect(ids.count(owner)).toBe(mine.length);
        }
      }),
    );
  });

  it('stay findable while the table grows to its bound and goes round', () => {
    const max = 5_000;
    const ids = new SpentIds(max);
    for (let id = 0; id < 3 * max; id += 1) ids.add(key(String(id)), 60_000);
    const known = Array.from({ length: 3 * max }, (_, id) => ids.has(key(String(id))));
    expect(known.lastIndexOf(false)).toBe(2 * max - 1);
    expect(known.indexOf(true)).toBe(2 * max);
  });
});
