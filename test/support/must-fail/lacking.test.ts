/**
 * Tests that need a program which no machine has, and one test that needs only Node. test/harness.test.ts runs them.
 */
import { test } from 'vitest';
import { requires } from '../skip.ts';

requires('node', 'no-such-program')('with the program', () => {
  test('one', () => {});
  test('two', () => {});
});

requires('node')('without the program', () => {
  test('three', () => {});
});
