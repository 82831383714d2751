/** Values pass from what has them to what takes them: in the same call, one at a time, each once. */
import { expect, it } from 'vitest';
import { exhausted, iterate, pour, type Sink } from '../src/flow/sink.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';

finishesCleanly();

/** A source to take from, and a sink that is busy until it is let go. */
function pipeline() {
  const there: (number | typeof exhausted)[] = [];
  const taken: number[] = [];
  let full: PromiseWithResolvers<void> | undefined;
  const { wake, done } = pour<number>(
    () => there.shift(),
    (value) => {
      taken.push(value);
      return full?.promise;
    },
  );
  return {
    taken,
    done,
    wake,
    put(...values: (number | typeof exhausted)[]) {
      there.push(...values);
      wake();
    },
    fill: () => (full = deferred()),
    empty() {
      const { resolve } = full!;
      full = undefined;
      resolve();
    },
  };
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

function deferred(): PromiseWithResolvers<void> {
  let resolve!: () => void;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

it('a sink that has room is given a value in the call that makes it', async () => {
  const { put, taken, done } = pipeline();
  put(1);
  expect(taken).toEqual([1]);
  put(2, 3, exhausted);
  expect(taken).toEqual([1, 2, 3]);
  await done;
});

it('a sink that is busy is given nothing, and all that waits when it has room again', async () => {
  const { put, fill, empty, taken, done } = pipeline();
  fill();
  put(1, 2);
  put(3, exhausted);
  expect(taken).toEqual([1]);
  empty();
  await done;
  expect(taken).toEqual([1, 2, 3]);
});

it('what a sink throws, or rejects with, ends it, and nobody who wakes it hears of that', async () => {
  const broken: Sink<number> = () => {
    throw new Error('broken');
  };
  const rejecting: Sink<number> = () => Promise.reject(new Error('broken'));
  for (const sink of [broken, rejecting]) {
    const values = [1, 2, 3];
    const { wake, done } = pour(() => values.shift(), sink);
    wake();
    await expect(done).rejects.toThrow('broken');
    wake();
    expect(values).toEqual([2, 3]);
  }
});

it('a sink that wakes what feeds it is not given a value within another', async () => {
  const values: (number | typeof exhausted)[] = [1, 2, 3, exhausted];
  let depth = 0;
  const { wake, done } = pour<number>(
    () => values.shift(),
    () => {
      depth += 1;
      expect(depth).toBe(1);
      wake();
      depth -= 1;
      return undefined;
    },
  );
  wake();
  await done;
});

it('iterating takes one value at a time, and the pipe waits meanwhile', async () => {
  let given = 0;
  const iterator = iterate<number>(
    async (sink) => {
      for (; given < 3; given += 1) await sink(given);
    },
    () => {},
  );
  expect(given).toBe(0);
  expect(await iterator.next()).toEqual({ done: false, value: 0 });
  await new Promise(setImmediate);
  expect(given).toBe(0);
  expect(await iterator.next()).toEqual({ done: false, value: 1 });
  expect(await iterator.next()).toEqual({ done: false, value: 2 });
  expect(await iterator.next()).toEqual({ done: true, value: undefined });
  expect(given).toBe(3);
});

it('leaving the iteration lets the pipe go on, and waits for its end', async () => {
  const left = new AbortController();
  let over = false;
  const iterator = iterate<number>(
    async (sink) => {
      for (let value = 0; !left.signal.aborted; value += 1) await sink(value);
      await sink(-1);
      over = true;
    },
    () => left.abort(),
  );
  for await (const value of iterator) if (value === 2) break;
  expect(over).toBe(true);
});

it('a pipe that fails fails the iteration', async () => {
  const failing = () => Promise.reject(new Error('failed'));
  await expect(iterate(failing, () => {}).next()).rejects.toThrow('failed');
});
