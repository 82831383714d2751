/** Two requests with one generationId are either the same request or a conflict. These tests say which. */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createInputSchemas, type StreamRequest } from '../src/protocol.ts';
import { measureRequest } from '../src/generations/request-identity.ts';

const ask = (more: object = {}) =>
  ({ config: 'default', messages: [{ role: 'user', content: 'hi' }], ...more }) as StreamRequest;

const identity = (request: StreamRequest) => measureRequest(request).identity;

/** The value with the keys of its objects in the opposite order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).toReversed();
  return Object.fromEntries(entries.map(([key, child]) => [key, reversed(child)]));
}

/** JSON with sorted keys: equal for equal values, and only for them. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_key, child: unknown) =>
    typeof child === 'object' && child !== null && !Array.isArray(child)
      ? Object.fromEntries(Object.entries(child).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : child,
  );
}

it('the order of an object’s fields makes no difference', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const request = ask({ messages: [{ role: 'user', content: [{ type: 'any', value }] }] });
      expect(identity(reversed(request) as StreamRequest)).toBe(identity(request));
    }),
  );
});

it('two different values make two requests, however much they look alike', () => {
  const pair = fc.oneof(fc.tuple(fc.jsonValue(), fc.jsonValue()), fc.tuple(fc.string(), fc.string()));
  const alike = [
    [['a', 'b'], ['ab']],
    ['1', 1],
    [null, 'null'],
    [[], {}],
    [[[], 1], [[1]]],
    [{ a: 'b:c' }, { 'a:b': 'c' }],
    ['"1:a', ['a']],
    ['a'.repeat(70_000), `${'a'.repeat(69_999)}b`],
  ] as const;
  const differ = (one: unknown, other: unknown) => {
    const hashes = [one, other].map((value) => identity(ask({ messages: [{ role: 'user', content: value }] })));
    expect(hashes[0] === hashes[1]).toBe(sorted(one) === sorted(other));
  };
  for (const [one, other] of alike) differ(one, other);
  fc.assert(fc.property(pair, ([one, other]) => differ(one, other)));
});

/** Two values of each option of a request. An option that is added needs a line here, and with it a decision about identity. */
const values: {
  readonly [Option in keyof Required<StreamRequest>]: readonly [unknown, unknown, 'counts' | 'does not'];
} = {
  config: ['default', 'other', 'counts'],
  messages: [[{ role: 'user', content: 'a' }], [{ role: 'user', content: 'b' }], 'counts'],
  variables: [{ subject: 'x' }, { subject: 'y' }, 'counts'],
  generationId: [randomUUID(), randomUUID(), 'does not'],
  thread: ['chat-1', 'chat-2', 'does not'],
  lastEventId: [`${randomUUID()}:1`, `${randomUUID()}:2`, 'does not'],
  traceparent: ['00-a', '00-b', 'does not'],
};

it.each(Object.entries(values))('the option %s, of %j or %j, %s', (option, [one, other, counts]) => {
  expect(identity(ask({ [option]: one })) !== identity(ask({ [option]: other }))).toBe(counts === 'counts');
});

it('every option that a door takes is one of these', () => {
  const schemas = createInputSchemas();
  expect(Object.keys(schemas.stream.shape)).toEqual(Object.keys(values));
  for (const option of Object.keys(schemas.restBody.shape)) expect(Object.keys(values)).toContain(option);
});

it('a field that no table knows counts, and no variables are as good as none', () => {
  const plain = identity(ask());
  expect(identity(ask({ anOptionOfTomorrow: true }))).not.toBe(plain);
  expect(identity(ask({ variables: {} }))).toBe(plain);
  expect(identity(ask({ variables: { subject: 'x' } }))).not.toBe(plain);
});

it('the memory that a request is counted with grows with its text and with its pieces', () => {
  const weight = (content: unknown) => measureRequest(ask({ messages: [{ role: 'user', content }] })).heldBytes;
  expect(weight('a'.repeat(1_000_000))).toBeGreaterThan(2_000_000);
  expect(weight([{ type: 'any', list: Array.from({ length: 10_000 }, () => 1) }])).toBeGreaterThan(640_000);
  expect(weight('a')).toBeLessThan(1_000);
});

it('a letter beyond ASCII makes two bytes of each letter of its text, and of the body for upstream', () => {
  const weight = (...texts: string[]) =>
    measureRequest(ask({ messages: texts.map((content) => ({ role: 'user', content })) })).heldBytes;
  const chars = 100_000;
  const plain = weight('a'.repeat(chars), 'b');
  expect(weight('—'.repeat(chars), 'b') - plain).toBeGreaterThanOrEqual(2 * chars);
  expect(weight('a'.repeat(chars), '—') - plain).toBeGreaterThanOrEqual(chars);
  expect(weight('a'.repeat(chars), '—') - plain).toBeLessThan(chars + 200);
});
