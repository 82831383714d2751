/** A JSON text that is still being written, as the value that it is so far. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PartialJson } from '../src/client/partial-json.ts';

/** Every value that was taken, one after each piece that changed something. */
function taken(pieces: readonly string[]): unknown[] {
  const json = new PartialJson();
  return pieces.flatMap((piece) => {
    json.push(piece);
    return json.changed ? [json.take()] : [];
  });
}

/** The values after each character that changed something. */
const afterEach = (text: string) => taken(Array.from(text));

const cut = (text: string, cuts: readonly number[]) => {
  const places = [0, ...cuts.map((each) => each % (text.length + 1)).toSorted((a, b) => a - b), text.length];
  return places.slice(1).map((place, index) => text.slice(places[index], place));
};

/** Whether a value can become another one by growing: its strings are beginnings, its lists are shorter, its keys fewer. */
function isPartOf(part: unknown, whole: unknown): boolean {
  if (typeof part === 'string') return typeof whole === 'string' && whole.startsWith(part);
  if (typeof part !== 'object' || part === null) return part === whole;
  if (typeof whole !== 'object' || whole === null || Array.isArray(part) !== Array.isArray(whole)) return false;
  return Object.entries(part).every(
    ([key, value]) => Object.hasOwn(whole, key) && isPartOf(value, (whole as Record<string, unknown>)[key]),
  );
}

const jsonText = fc
  .tuple(fc.jsonValue(), fc.constantFrom(undefined, 1, '\t'))
  .filter(([value]) => typeof value === 'object' && value !== null)
  .map(([value, indent]) => JSON.stringify(value, null, indent));

it('however a text is cut, the last value is what JSON.parse makes of it, and each before is a part of that', () => {
  fc.assert(
    fc.property(jsonText, fc.array(fc.nat()), (text, cuts) => {
      const values = taken(cut(text, cuts));
      expect(values.at(-1)).toEqual(JSON.parse(text));
      for (const value of values) expect(isPartOf(value, JSON.parse(text))).toBe(true);
    }),
  );
});

it('a value that was taken never changes', () => {
  fc.assert(
    fc.property(jsonText, (text) => {
      const json = new PartialJson();
      const seen: [value: unknown, asItWas: string][] = [];
      for (const character of text) {
        json.push(character);
        if (!json.changed) continue;
        const value = json.take();
        seen.push([value, JSON.stringify(value)]);
      }
      for (const [value, asItWas] of seen) expect(JSON.stringify(value)).toBe(asItWas);
    }),
  );
});

it('no text that is not JSON makes it throw', () => {
  const nearlyJson = fc.string({ unit: fc.constantFrom(...Array.from('{}[]",:\\u0dtrue 1e-')), maxLength: 40 });
  fc.assert(fc.property(nearlyJson, (text) => void afterEach(text)));
});

it('parts that stay the same are shared, and those that grow are new', () => {
  const json = new PartialJson();
  json.push('{"first": {"a": 1}, "second": [{"b": 2}, {"c": "x');
  const before = json.take() as { first: object; second: object[] };
  json.push('y');
  const after = json.take() as typeof before;
  expect(after).not.toBe(before);
  expect(after.first).toBe(before.first);
  expect(after.second).not.toBe(before.second);
  expect(after.second[0]).toBe(before.second[0]);
  expect(after.second[1]).not.toBe(before.second[1]);
});

it('a text shows while it is written; a number, true, false and null once they are whole; a key with its value', () => {
  expect(afterEach('{"ab": "hi", "n": -12.5, "yes": true, "none": null}')).toEqual([
    {},
    { ab: '' },
    { ab: 'h' },
    { ab: 'hi' },
    { ab: 'hi', n: -12.5 },
    { ab: 'hi', n: -12.5, yes: true },
    { ab: 'hi', n: -12.5, yes: true, none: null },
  ]);
  expect(afterEach('[[], [1,2 ]]')).toEqual([[], [[]], [[], []], [[], [1]], [[], [1, 2]]]);
});

it('half of an escape and half of a surrogate pair wait for the other half', () => {
  expect(afterEach('"a\\u00e9\\n"')).toEqual(['', 'a', 'aé', 'aé\n']);
  expect(taken(['"\\ud83d', '\\ude42', '"'])).toEqual(['', '🙂']);
  expect(taken(['"\\ud83d', 'x"'])).toEqual(['', '\ud83dx']);
  expect(taken(['"\\ud83d', '"'])).toEqual(['', '\ud83d']);
  expect(taken(['{"\\ud83d\\ude42": 1', '}'])).toEqual([{}, { '🙂': 1 }]);
});

it('a key named __proto__ is a key like any other, and of two equal keys the last counts', () => {
  const [value] = taken(['{"__proto__": {"x": 1}, "a": 1, "a": 2}']) as [object];
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  expect(Object.entries(value)).toEqual([
    ['__proto__', { x: 1 }],
    ['a', 2],
  ]);
  const last = afterEach('{"__proto__": {"x": "yz"}}').at(-1) as object;
  expect(JSON.stringify(last)).toBe('{"__proto__":{"x":"yz"}}');
});

it.each([
  ['text before it', 'Here it is: {"a": 1}', undefined],
  ['text after it', '{"a": 1} That was it: {"b": 2}', { a: 1 }],
  ['a missing comma', '{"a": 1 "b": 2}', { a: 1 }],
  ['a wrong bracket', '{"a": [1}, "b": 2]', { a: [1] }],
  ['a comma at the end', '{"a": 1,}', { a: 1 }],
  ['a word', '{"a": 1, "b": maybe, "c": 3}', { a: 1 }],
  ['an escape that there is not', '{"a": "x\\q", "b": 2}', { a: 'x' }],
])('%s ends it: the value stays as it is', (_, text, value) => {
  expect(afterEach(text).at(-1)).toEqual(value);
});
