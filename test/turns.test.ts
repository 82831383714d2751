/**
 * Work that can wait is done in order, some of it each turn, and all of it in the end. A longer queue is worked off
 * faster, so no queue grows without end.
 */
import { expect, it } from 'vitest';
import { laterTurn, soon } from '../src/flow/turns.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';

finishesCleanly();
const turn = () => new Promise(setImmediate);

it('waiters of one turn are released over several turns, in the order in which they asked', async () => {
  const order: number[] = [];
  const all = Array.from({ length: 100 }, (_, number) => laterTurn().then(() => order.push(number)));
  expect(order).toEqual([]);
  const sizes: number[] = [];
  while (order.length < 100) {
    await turn();
    sizes.push(order.length);
  }
  await Promise.all(all);
  expect(order).toEqual([...order.keys()]);
  expect(sizes.length).toBeGreaterThan(10);
  expect(sizes[0]).toBeLessThan(20);
});

it('a new waiter comes after the others, and a queue that grows each turn stays bounded', async () => {
  let waiting = 0;
  const most = { waiting: 0 };
  const ask = () => {
    waiting += 1;
    most.waiting = Math.max(most.waiting, waiting);
    return laterTurn().then(() => (waiting -= 1));
  };
  const all: Promise<unknown>[] = [];
  for (let turns = 0; turns < 200; turns += 1) {
    for (let each = 0; each < 10; each += 1) all.push(ask());
    await turn();
  }
  await Promise.all(all);
  expect(waiting).toBe(0);
  // With ten new ones per turn and a sixteenth released each turn, some 160 wait.
  expect(most.waiting).toBeLessThan(250);
});

it('the first few of a turn need not wait, the others do', async () => {
  for (let turns = 0; turns < 3; turns += 1) {
    const all = Array.from({ length: 100 }, () => soon());
    const first = all.filter((each) => each === undefined).length;
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThan(50);
    expect(all.slice(0, first)).toEqual(Array(first).fill(undefined));
    for (const each of all) await each;
    await turn();
  }
});
