/** How long ids are held back after Redis has forgotten something, so that nothing runs twice. */
import { expect, it } from 'vitest';
import { Era } from '../src/stream-log/redis/era.ts';

/** An instance's two connections are up again, one after the other, on the process with this `run_id`. */
function comeBackOn(era: Era, run: string | undefined): void {
  era.interrupt();
  era.resume(run);
  era.interrupt();
  era.resume(run);
}

it('another process of Redis holds ids back until every owner had its time, however many connections find it', () => {
  const era = new Era(60_000);
  era.resume('one');
  expect(era.held).toBe(false);
  comeBackOn(era, 'two');
  expect(era.held).toBe(true);
});

it('the same process holds nothing back once both connections have found it', () => {
  const era = new Era(60_000);
  era.resume('one');
  comeBackOn(era, 'one');
  expect(era.held).toBe(false);
});

it('where the process can’t be known, a connection that was lost holds ids back, and the first one doesn’t', () => {
  const era = new Era(60_000);
  era.resume(undefined);
  expect(era.held).toBe(false);
  comeBackOn(era, undefined);
  expect(era.held).toBe(true);
});

it('a new era holds ids back for what is left of its own time', () => {
  const era = new Era(60_000);
  expect(era.learn('a', 0)).toBe(false);
  expect(era.held).toBe(false);
  expect(era.learn('b', 60_000)).toBe(true);
  expect(era.held).toBe(false);
  expect(era.learn('c', 0)).toBe(true);
  expect(era.held).toBe(true);
});
