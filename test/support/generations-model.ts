/**
 * Compares generations with a reference model: for each key an array of events and a state. Each command runs on both.
 * After it everything visible must agree: every viewer's events, every snapshot, every call to upstream.
 */
import { expect } from 'vitest';
import type { Caller } from '../../src/caller.ts';
import { parseConfigs } from '../../src/configs/configs.ts';
import { LlmError } from '../../src/errors.ts';
import { Generations } from '../../src/generations/generations.ts';
import type { LogView } from '../../src/generations/view.ts';
import { HeldBytes } from '../../src/access/held-bytes.ts';
import type { LLMService } from '../../src/upstream/llm-service.ts';
import { isTerminal, type Account, type LlmEvent, type StreamRequest, type TerminalEvent } from '../../src/protocol.ts';
import { MemoryStreamLogs } from '../../src/stream-log/memory.ts';
import type { LogBatch } from '../../src/stream-log/stream-log.ts';
import { Telemetry } from '../../src/telemetry/telemetry.ts';

export const stateNames = ['none', 'barred', 'watched', 'unwatched', 'ended', 'gone'] as const;
export type StateName = (typeof stateNames)[number];

export interface Key {
  readonly caller: string;
  readonly id: number;
}

export type Command = { readonly key: Key } & (
  | { readonly do: 'start'; readonly request: number; readonly eager: boolean }
  /** A client that was cut off and asks again, after an event that it claims to have seen. */
  | { readonly do: 'retry'; readonly cursor: number }
  | { readonly do: 'attach'; readonly cursor: number | undefined; readonly eager: boolean }
  /** The first viewer, or all of them. */
  | { readonly do: 'drop'; readonly all: boolean }
  | { readonly do: 'cancel' }
  | { readonly do: 'emit'; readonly events: number }
  | { readonly do: 'finish'; readonly well: boolean }
  | { readonly do: 'expire' }
  | { readonly do: 'advance'; readonly ms: number }
);
export const commandNames = [
  'start',
  'retry',
  'attach',
  'drop',
  'cancel',
  'emit',
  'finish',
  'expire',
  'advance',
] as const;

const graceMs = 1_200;
const retentionMs = 1_500;
const tombstoneMs = 2_500;
const barMs = 2_500;

/** What the model knows of one key. */
interface Reference {
  state: 'none' | 'barred' | 'running' | 'ended' | 'gone';
  request: number;
  events: LlmEvent[];
  viewers: Viewer[];
  /** When the state changes to the next one by itself. */
  deadline: number | undefined;
}

interface Viewer {
  /** An eager viewer reads whatever arrives. Any other reads nothing until the final check. */
  readonly eager: boolean;
  readonly leave: () => void;
  /** The events that have arrived since the last check. */
  seen: { offset: number; event: LlmEvent }[];
  /** The offset of the last event that this viewer is known to have. */
  lastOffset: number;
  readonly batches: LogView;
  completed: boolean;
}

interface Call {
  readonly push: (events: LlmEvent[]) => void;
  aborted: boolean;
}

const account: Account = {
  usage: {
    inputTokens: 1,
    outputTokens: 1,
    cacheReadInputTokens: 0,
    cacheCreationInputTokens: 0,
    estimated: false,
    raw: null,
  },
  costUsd: null,
  timing: { firstTokenMs: 1, totalMs: 1 },
  config: 'test',
  model: 'm',
};
const done: TerminalEvent = { type: 'done', stopReason: 'end_turn', steps: 1, ...account };
const failed: TerminalEvent = { type: 'error', code: 'upstream_error', message: 'failed', retryable: true, ...account };

const base = { model: 'claude-sonnet-5-5', max_tokens: 100, system_prompt: 'p' };
const configs = parseConfigs({
  grace: { ...base, on_disconnect: { cancel_after_ms: graceMs } },
  goes_on: { ...base, on_disconnect: 'continue' },
});
/** Two requests that a client may send under one id. The second goes on without viewers. */
const requests = ['grace', 'goes_on'].map((config) => ({
  config,
  messages: [{ role: 'user' as const, content: 'hi' }],
}));

const telemetry = new Telemetry({ logLevel: 'silent', logContent: false });

/** Lets everything continue that waits only for its turn. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

export class World implements AsyncDisposable {
  readonly #advance: (ms: number) => void;
  readonly #logs = new MemoryStreamLogs({
    logBytesMax: 1_000_000,
    logsBytesMax: 100_000_000,
    logsBytesPerCallerMax: 100_000_000,
    logRetentionMs: retentionMs,
    tombstonesMax: 1_000,
    tombstoneMs,
    barsMax: 1_000,
    barsPerCallerMax: 1_000,
    viewerBatchBytesMax: 1_024,
  });
  readonly #calls: Call[] = [];
  readonly #places = { generations: 0, viewers: 0, waiting: 0 };
  readonly #generations: Generations;
  readonly #references = new Map<string, Reference>();
  /** The upstream call for each key, if one runs. */
  readonly #callOf = new Map<string, Call>();
  #callsExpected = 0;
  #emitted = 0;

  /** @param advance Moves the clock, and fires the timers that are due. */
  constructor(advance: (ms: number) => void) {
    this.#advance = advance;
    this.#generations = new Generations({
      logs: this.#logs,
      llm: scriptedLlm(this.#calls),
      telemetry,
      configs: () => configs,
      admission: {
        admitGeneration: async () => place(this.#places, 'generations'),
        admitViewer: () => place(this.#places, 'viewers'),
        admitWaiting: () => place(this.#places, 'waiting'),
      },
      held: new HeldBytes({ heldBytesMax: Infinity, heldBytesPerCallerMax: Infinity }),
      logBytesMax: Infinity,
      toolResultBytesMax: Infinity,
      barMs,
    });
  }

  stateOf(key: Key): StateName {
    const { state, viewers } = this.#at(key);
    if (state !== 'running') return state;
    return viewers.length > 0 ? 'watched' : 'unwatched';
  }

  async run(command: Command): Promise<void> {
    const { key } = command;
    const reference = this.#at(key);
    switch (command.do) {
      case 'start':
        await this.#start(key, { ...requests[command.request]!, generationId: uuidOf(key) }, command);
        break;
      case 'retry': {
        const lastEventId = `${uuidOf(key)}:${command.cursor}`;
        const request = { ...requests[reference.request]!, generationId: uuidOf(key), lastEventId };
        await this.#open(key, (signal) => this.#generations.stream(callerOf(key), request, signal), {
          after: command.cursor,
          eager: true,
          refusal: this.#refusalOfAttach(reference, command.cursor),
        });
        break;
      }
      case 'attach': {
        const { cursor, eager } = command;
        const lastEventId = cursor === undefined ? undefined : `${uuidOf(key)}:${cursor}`;
        const request = { generationId: uuidOf(key), lastEventId };
        await this.#open(key, (signal) => this.#generations.follow(callerOf(key), request, signal), {
          after: cursor ?? -1,
          eager,
          refusal: this.#refusalOfAttach(reference, cursor),
        });
        break;
      }
      case 'drop':
        for (const viewer of reference.viewers.slice(0, command.all ? Infinity : 1))
          await this.#drop(reference, viewer);
        break;
      case 'cancel':
        await this.#cancel(key, reference);
        break;
      case 'emit':
        if (reference.state === 'running') await this.#emit(key, reference, this.#someEvents(command.events));
        break;
      case 'finish':
        if (reference.state === 'running') await this.#emit(key, reference, [command.well ? done : failed]);
        break;
      case 'expire':
        if (reference.deadline !== undefined) await this.#pass(reference.deadline - Date.now());
        break;
      case 'advance':
        await this.#pass(command.ms);
        break;
    }
    await this.#check();
  }

  /** Ends everything that runs, and checks that nothing is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const reference of this.#references.values()) {
      for (const viewer of [...reference.viewers]) await this.#drop(reference, viewer);
    }
    const drained = this.#generations[Symbol.asyncDispose]();
    // The time limits of a drain run on the test's clock, too.
    for (let step = 0; step < 3; step += 1) {
      this.#advance(1);
      await settle();
    }
    await drained;
    expect(this.#generations.running).toBe(0);
    expect(this.#places).toEqual({ generations: 0, viewers: 0, waiting: 0 });
    await this.#logs[Symbol.asyncDispose]();
  }

  // ------------------------------------------------------------------------------------------------ the commands

  async #start(key: Key, request: StreamRequest, { request: number, eager }: { request: number; eager: boolean }) {
    const reference = this.#at(key);
    const starts = reference.state === 'none';
    const attaches = reference.state === 'running' || reference.state === 'ended';
    let refusal: string | undefined;
    if (!starts && !attaches) refusal = 'generation_not_found';
    else if (attaches && reference.request !== number) refusal = 'conflict';
    if (starts) {
      this.#callsExpected += 1;
      Object.assign(reference, { state: 'running', request: number, events: [startOf(key, number)] });
    }
    await this.#open(key, (signal) => this.#generations.stream(callerOf(key), request, signal), {
      after: -1,
      eager,
      refusal,
    });
    if (starts) this.#callOf.set(nameOf(key), this.#calls.at(-1)!);
  }

  #refusalOfAttach({ state, events }: Reference, cursor: number | undefined): string | undefined {
    if (state !== 'running' && state !== 'ended') return 'generation_not_found';
    return cursor !== undefined && cursor >= events.length ? 'invalid_input' : undefined;
  }

  async #open(
    key: Key,
    open: (signal: AbortSignal) => LogView,
    { after, eager, refusal }: { after: number; eager: boolean; refusal: string | undefined },
  ): Promise<void> {
    const abort = new AbortController();
    const batches = open(abort.signal);
    const leave = () => abort.abort();
    const viewer: Viewer = { eager, leave, seen: [], lastOffset: after, batches, completed: false };
    let refused: unknown;
    const reading = read(viewer, 1).catch((error: unknown) => (refused = error));
    await settle();
    if (refusal !== undefined) {
      await reading;
      expect(refused).toBeInstanceOf(LlmError);
      expect((refused as LlmError).code).toBe(refusal);
      // A caller that was admitted and then refused counts as a viewer that came and left.
      return;
    }
    expect(refused).toBeUndefined();
    const reference = this.#at(key);
    if (reference.state === 'running') reference.deadline = undefined;
    reference.viewers.push(viewer);
    // Eager viewers pipe, as the doors do. The others pull, as a host's app does.
    if (eager) void reading.then(() => follow(viewer));
    await settle();
    if (viewer.completed) await this.#drop(reference, viewer);
  }

  async #drop(reference: Reference, viewer: Viewer): Promise<void> {
    if (!viewer.eager && reference.state === 'ended') {
      // A viewer that was behind can still read to the end.
      await read(viewer, Infinity);
      expect(viewer.completed).toBe(true);
      expectSeen(viewer, reference.events);
    }
    viewer.leave();
    await viewer.batches.return?.();
    await settle();
    reference.viewers.splice(reference.viewers.indexOf(viewer), 1);
    if (reference.state === 'running' && reference.viewers.length === 0 && reference.request === 0) {
      reference.deadline = Date.now() + graceMs;
    }
  }

  async #cancel(key: Key, reference: Reference): Promise<void> {
    const outcome = await this.#generations.cancel(callerOf(key), uuidOf(key)).catch((error: unknown) => error);
    if (reference.state === 'running') {
      expect(outcome).toBe('cancelled');
      // When a cancel is acknowledged the generation is over: upstream is closed, and no more events arrive.
      expect(this.#callOf.get(nameOf(key))!.aborted).toBe(true);
      this.#end(reference, { type: 'cancelled', reason: 'requested', ...account });
    } else if (reference.state === 'ended') {
      expect(outcome).toBe('already_ended');
    } else {
      expect((outcome as LlmError).code).toBe('generation_not_found');
      if (reference.state === 'none') Object.assign(reference, { state: 'barred', deadline: Date.now() + barMs });
    }
  }

  async #emit(key: Key, reference: Reference, events: LlmEvent[]): Promise<void> {
    this.#callOf.get(nameOf(key))!.push(events);
    await settle();
    const last = events.at(-1)!;
    if (isTerminal(last)) this.#end(reference, last);
    else reference.events.push(...events);
  }

  #end(reference: Reference, terminal: TerminalEvent): void {
    reference.events.push(terminal);
    Object.assign(reference, { state: 'ended', deadline: Date.now() + retentionMs });
  }

  #someEvents(count: number): LlmEvent[] {
    return Array.from({ length: count }, () => {
      const number = (this.#emitted += 1);
      // A new block every few events, and sometimes a block that is no text.
      if (number % 5 === 0) return { type: 'block', index: number, block: { type: 'tool_use', id: `${number}` } };
      return { type: 'text', index: Math.floor(number / 3), text: `${number} ` };
    });
  }

  /** Moves the clock from one deadline of the model to the next, so that each is met at its time. */
  async #pass(ms: number): Promise<void> {
    const until = Date.now() + ms;
    for (;;) {
      const due = [...this.#references.values()].filter(({ deadline }) => deadline !== undefined && deadline <= until);
      const next = Math.min(until, ...due.map(({ deadline }) => deadline!));
      this.#advance(next - Date.now());
      await settle();
      for (const reference of due) if (reference.deadline === next) await this.#meetDeadline(reference);
      if (next === until && !due.some(({ deadline }) => deadline === until)) return;
    }
  }

  async #meetDeadline(reference: Reference): Promise<void> {
    switch (reference.state) {
      case 'running':
        return this.#end(reference, { type: 'cancelled', reason: 'disconnected', ...account });
      case 'ended':
        // Nobody can attach any more, but existing readers read on.
        for (const viewer of [...reference.viewers]) await this.#drop(reference, viewer);
        return void Object.assign(reference, { state: 'gone', deadline: Date.now() + tombstoneMs });
      default:
        Object.assign(reference, { state: 'none', events: [], deadline: undefined });
    }
  }

  // --------------------------------------------------------------------------------------------------- the check

  async #check(): Promise<void> {
    await settle();
    expect(this.#calls.length).toBe(this.#callsExpected);
    let running = 0;
    for (const [name, reference] of this.#references) {
      if (reference.state === 'running') running += 1;
      const key = keyOf(name);
      const snapshot = await this.#generations.snapshot(callerOf(key), uuidOf(key)).catch((error: unknown) => error);
      if (reference.state === 'running' || reference.state === 'ended') {
        const { events } = reference;
        const last = events.at(-1)!;
        expect(snapshot).toMatchObject({
          state: isTerminal(last) ? last.type : 'running',
          lastEventId: `${uuidOf(key)}:${events.length - 1}`,
          text: textOf(events),
        });
      } else {
        expect((snapshot as LlmError).code).toBe('generation_not_found');
      }
      for (const viewer of [...reference.viewers]) {
        if (!viewer.eager) continue;
        expectSeen(viewer, reference.events);
        expect(viewer.completed).toBe(reference.state === 'ended');
        if (viewer.completed) await this.#drop(reference, viewer);
      }
    }
    expect(this.#generations.running).toBe(running);
    expect(this.#places.generations).toBe(running);
  }

  #at(key: Key): Reference {
    const name = nameOf(key);
    let reference = this.#references.get(name);
    if (!reference) {
      reference = { state: 'none', request: 0, events: [], viewers: [], deadline: undefined };
      this.#references.set(name, reference);
    }
    return reference;
  }
}

/**
 * The viewer must have all of the log after its cursor, in order, once. Adjacent text of a block may have arrived
 * merged.
 */
function expectSeen(viewer: Viewer, events: readonly LlmEvent[]): void {
  for (const { offset, event } of viewer.seen.splice(0)) {
    const covered = events.slice(viewer.lastOffset + 1, offset + 1);
    viewer.lastOffset = offset;
    const [first] = covered;
    if (event.type === 'text' && first?.type === 'text') {
      expect(covered.every((each) => each.type === 'text' && each.index === event.index)).toBe(true);
      expect(event).toEqual({ ...first, text: textOf(covered) });
    } else {
      expect(covered.map(withoutTime)).toEqual([withoutTime(event)]);
    }
  }
  expect(viewer.lastOffset).toBeGreaterThanOrEqual(events.length - 1);
}

function textOf(events: readonly LlmEvent[]): string {
  return events.map((event) => (event.type === 'text' ? event.text : '')).join('');
}

function withoutTime(event: LlmEvent): LlmEvent {
  return event.type === 'start' ? { ...event, startedAt: '' } : event;
}

async function read(viewer: Viewer, batchesMax: number): Promise<void> {
  for (let batches = 0; batches < batchesMax; batches += 1) {
    const next = await viewer.batches.next();
    if (next.done) {
      viewer.completed = true;
      return;
    }
    see(viewer, next.value);
  }
}

async function follow(viewer: Viewer): Promise<void> {
  await viewer.batches.pipe((batch) => see(viewer, batch));
  viewer.completed = true;
}

function see(viewer: Viewer, batch: LogBatch): undefined {
  for (const { id, event } of batch) viewer.seen.push({ offset: Number(id.split(':')[1]), event });
}

/** Upstream as a script: one call for each `pipe`. It ends as cancelled with the reason of its signal. */
function scriptedLlm(calls: Call[]): LLMService {
  const pipe: LLMService['pipe'] = async (_request, signal, sink) => {
    const waiting: LlmEvent[][] = [];
    let wake = () => {};
    const call: Call = {
      push(events) {
        waiting.push(events);
        wake();
      },
      aborted: false,
    };
    calls.push(call);
    signal.addEventListener('abort', () => wake());
    for (;;) {
      const events = waiting.shift();
      if (events) {
        await sink(events);
        if (isTerminal(events.at(-1)!)) return;
      } else if (signal.aborted) {
        call.aborted = true;
        await sink([{ type: 'cancelled', reason: signal.reason as 'requested', ...account }]);
        return;
      } else {
        await new Promise<void>((resolve) => (wake = resolve));
      }
    }
  };
  return { pipe, isSimulated: () => true } satisfies Pick<LLMService, 'pipe' | 'isSimulated'> as unknown as LLMService;
}

type PlaceKind = 'generations' | 'viewers' | 'waiting';

function place(places: Record<PlaceKind, number>, kind: PlaceKind): Disposable {
  places[kind] += 1;
  return { [Symbol.dispose]: () => void (places[kind] -= 1) };
}

function startOf(key: Key, request: number): LlmEvent {
  return {
    type: 'start',
    generationId: uuidOf(key),
    config: requests[request]!.config,
    model: base.model,
    simulated: true,
    startedAt: '',
    protocol: 1,
  };
}

/** All callers use the same ids, so only the caller distinguishes the generations. */
function uuidOf({ id }: Key): string {
  return `00000000-0000-4000-8000-00000000000${id}`;
}

function callerOf({ caller }: Key): Caller {
  return { name: caller };
}

function nameOf({ caller, id }: Key): string {
  return `${caller} ${id}`;
}

function keyOf(name: string): Key {
  const [caller, id] = name.split(' ');
  return { caller: caller!, id: Number(id) };
}
