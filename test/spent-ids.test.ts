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

  it('are the youngest ones, as many as the bound lets be, whatever was added', () => {
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

  it('stay findable while the table grows to its bound and goes round', () => {
    const max = 5_000;
    const ids = new SpentIds(max);
    for (let id = 0; id < 3 * max; id += 1) ids.add(key(String(id)), 60_000);
    const known = Array.from({ length: 3 * max }, (_, id) => ids.has(key(String(id))));
    expect(known.lastIndexOf(false)).toBe(2 * max - 1);
    expect(known.indexOf(true)).toBe(2 * max);
  });
});
