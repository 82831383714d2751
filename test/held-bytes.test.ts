/**
 * The memory that is held for callers is bounded for each caller and for all together, and is given back completely.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { HeldBytes, type Hold } from '../src/access/held-bytes.ts';

it('refuses a caller beyond its bound, and everyone beyond that of the process', () => {
  const held = new HeldBytes({ heldBytesMax: 100, heldBytesPerCallerMax: 60 });
  const first = held.take('ada', 60);
  expect(() => held.take('ada', 1)).toThrow(expect.objectContaining({ code: 'rate_limited' }));
  held.take('bob', 40);
  expect(() => held.take('eve', 1)).toThrow(expect.objectContaining({ code: 'at_capacity', retryAfterMs: 1_000 }));
  first.resize(20);
  held.take('eve', 40);
  expect(() => first.resize(21)).toThrow(expect.objectContaining({ code: 'at_capacity' }));
  expect(held.total).toBe(100);
});

it('holds nothing after everything was given back, also after a double return and after a refusal', () => {
  const change = fc.tuple(fc.constantFrom('ada', 'bob'), fc.nat(9), fc.nat(50));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 100 }), (changes) => {
      const held = new HeldBytes({ heldBytesMax: 120, heldBytesPerCallerMax: 80 });
      const holds = new Map<string, Hold>();
      for (const [caller, at, bytes] of changes) {
        const key = `${caller} ${at}`;
        try {
          if (bytes === 0) {
            holds.get(key)?.[Symbol.dispose]();
            holds.delete(key);
          } else if (holds.has(key)) {
            holds.get(key)!.resize(bytes);
          } else {
            holds.set(key, held.take(caller, bytes));
          }
        } catch {}
        expect(held.total).toBeLessThanOrEqual(120);
      }
      for (const hold of holds.values()) {
        hold[Symbol.dispose]();
        hold[Symbol.dispose]();
      }
      expect(held.total).toBe(0);
    }),
  );
});
