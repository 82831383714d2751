/** ARCHITECTURE.md shows the call stack of one token. Here it is compared with the stack of a real one. */
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { doors } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

/** A function on the stack; the name is empty for one that has none. */
interface Call {
  readonly file: string;
  readonly name: string;
}

/** The table in ARCHITECTURE.md: the rows of all doors, then those of this door. */
function documented(door: string): Call[] {
  const page = readFileSync(new URL('../ARCHITECTURE.md', import.meta.url), 'utf8');
  const section = page.split('\n## ').find((each) => each.startsWith('One token'))!;
  const rows = [...section.matchAll(/^\| (\w*) ?\| `([^`]+)` \| (?:`([^`]+)` )?\|/gm)];
  return rows
    .filter(([, of]) => of === '' || of === door)
    .map(([, , file = '', name = '']) => ({ file, name: bare(name) }));
}

/** The functions of src/ on a stack, the first that was called first. */
function callsOn(stack: string): Call[] {
  const src = fileURLToPath(new URL('../src/', import.meta.url));
  const frames = [...stack.matchAll(/^ +at (?:(.+) \()?(?:file:\/\/)?(\/[^():]+):\d+:\d+\)?$/gm)];
  return frames
    .filter(([, , path]) => path?.startsWith(src))
    .map(([, name = '', path = '']) => ({ file: path.slice(src.length), name: bare(name) }))
    .toReversed();
}

/** `Attempt.#handOver` and `ResponseBody.wake` without the object that V8 names before the function. */
function bare(name: string): string {
  return name === '<anonymous>' ? '' : (name.split('.').at(-1) ?? '');
}

const original = Socket.prototype.write;
const stackTraceLimit = Error.stackTraceLimit;
let stacks: string[] = [];
beforeEach(() => {
  stacks = [];
  Error.stackTraceLimit = 100;
  Socket.prototype.write = function write(this: Socket, ...args: unknown[]) {
    stacks.push(new Error('a write').stack ?? '');
    return Reflect.apply(original, this, args) as boolean;
  };
});
afterEach(() => {
  Socket.prototype.write = original;
  Error.stackTraceLimit = stackTraceLimit;
});

it.each(doors)(
  'a token over $name passes from socket to socket on the stack that ARCHITECTURE.md shows',
  async (door) => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const view = door.stream(url, ask('hi'));
    const request = await upstream.nextRequest();
    // The first read brings the response's head, and takes another way.
    await request.text('one');
    await view.until((event) => event.type === 'text');
    stacks = [];
    await request.text('two');
    await view.until((event) => event.type === 'text' && event.text.includes('two'));
    const passed = stacks.map(callsOn).find((calls) => calls.some(({ name }) => name === 'takeBody'));
    expect(passed).toEqual(documented(door.name));
    request.finish();
    await view.until((event) => event.type === 'done');
  },
);
