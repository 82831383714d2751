/** The benchmark's readers count every character, however the bytes are cut. Its completeness check depends on this. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TextCounter } from '../bench/load/text-counter.ts';
import { charactersOf, tokens } from '../bench/wire/tokens.ts';

const texts = fc.array(fc.string({ unit: 'grapheme', maxLength: 8 }), { maxLength: 8 });

/** Cuts bytes at the given positions. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set([...places.map((place) => place % (bytes.length + 1)), bytes.length])].toSorted(
    (a, b) => a - b,
  );
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

it('counts the characters and the texts of any frames, cut anywhere', () => {
  fc.assert(
    fc.property(texts, fc.array(fc.nat(2_000)), fc.boolean(), (sent, places, escaped) => {
      const frames = sent.map((text) => `data: {"json":{"type":"text","index":0,"text":${JSON.stringify(text)}}}\n\n`);
      const ascii = (frame: string) => frame.replaceAll(/[^\x20-\x7e\n]/g, (unit) => `\\u${hexOf(unit)}`);
      const bytes = Buffer.from(frames.map((frame) => (escaped ? ascii(frame) : frame)).join(''));
      const counter = new TextCounter('"text":"');
      for (const part of cut(bytes, places)) counter.push(part);
      expect(counter.characters).toBe(sent.join('').length);
      expect(counter.frames).toBe(sent.filter((text) => text !== '').length);
    }),
  );
});

it('the tokens have 3 to 6 characters, one in twenty with what JSON escapes or beyond ASCII', () => {
  expect(tokens.every(({ length }) => length >= 3 && length <= 6)).toBe(true);
  expect(tokens.filter((token) => /[^ a-z]/.test(token)).length / tokens.length).toBe(0.05);
  expect(charactersOf(2_500)).toBe([...tokens, ...tokens, ...tokens.slice(0, 500)].join('').length);
});

function hexOf(unit: string): string {
  return unit.charCodeAt(0).toString(16).padStart(4, '0');
}
