/** JSON is measured before it is parsed. The count equals that of the parsed value, whatever its strings contain. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { excessOf } from '../src/json/json-bounds.ts';

const measure = (json: string, valuesMax: number, depthMax = Infinity) =>
  excessOf(Buffer.from(json), { valuesMax, depthMax });

/** Values as the bound counts them: each item and each key, and each array and object once more. */
function valuesOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const children: unknown[] = Object.values(value);
  const separators = Math.max(0, children.length - 1) + (Array.isArray(value) ? 0 : children.length);
  return 1 + separators + children.reduce((sum: number, child) => sum + valuesOf(child), 0);
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

/** Strings full of characters that look like structure, or like the end of the string. */
const tricky = fc.string({ unit: fc.constantFrom('"', '\\', '[', '{', ',', ':', 'é', 'a', '\n'), maxLength: 600 });
const json = fc.oneof(
  fc.jsonValue(),
  fc.array(tricky),
  fc.dictionary(tricky, fc.oneof(tricky, fc.array(tricky, { maxLength: 3 })), { maxKeys: 5 }),
);

describe('the bound on values', () => {
  it('accepts exactly the bound, and refuses one more, at every indentation', () => {
    fc.assert(
      fc.property(json, fc.nat(2), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        const values = 1 + valuesOf(value);
        expect(measure(text, values)).toBeUndefined();
        if (values > 1) expect(measure(text, values - 1)).toBe('values');
      }),
    );
  });

  it('refuses at once a text that would make millions of values', () => {
    expect(measure('[1,'.repeat(3_000_000), 1_000)).toBe('values');
    expect(measure(`"${'\\"'.repeat(3_000_000)}"`, 1)).toBeUndefined();
  });
});

it('the bound on depth accepts exactly the bound, and refuses one level more', () => {
  fc.assert(
    fc.property(json, (value) => {
      const depth = depthOf(value);
      expect(measure(JSON.stringify(value), Infinity, depth)).toBeUndefined();
      if (depth > 0) expect(measure(JSON.stringify(value), Infinity, depth - 1)).toBe('depth');
    }),
  );
});

it('text that is not JSON is measured without an exception, and the measurement ends', () => {
  fc.assert(fc.property(tricky, (text) => void measure(text, Infinity)));
  for (const text of ['', '"', '"\\', '"\\"', '\\"', '[', ']]]]', '{"a', '"a\\\\"[']) measure(text, 1);
});
