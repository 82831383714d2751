/**
 * The readers of a benchmark, in a process of their own. Opens streams, and records what arrives and when. Reads the
 * CPU time of the given processes at the first and at the last token. Compares nothing.
 */
import { cpuMsOf, machineCpuMs, monotonicMs } from '../wire/clock.ts';
import { serveCommands } from '../wire/rpc.ts';
import { charactersOf } from '../wire/tokens.ts';
import type { Connection } from './connections.ts';
import { doors, type Door, type DoorName } from './doors.ts';
import { TextCounter } from './text-counter.ts';

export interface Readers {
  readonly url: string;
  readonly door: DoorName;
  readonly streams: number;
  /** How many tokens each stream must deliver. */
  readonly tokens: number;
  /** If set, all streams read one generation, by its id, instead of one each. */
  readonly together?: boolean;
  /** The generation of each stream; new ones unless given. */
  readonly ids?: readonly string[];
}

export interface CpuWatch {
  /** The processes whose CPU time is measured. */
  readonly pids: Readonly<Record<string, number>>;
}

export interface ReadStream {
  readonly number: number;
  /** When each token had arrived whole. */
  readonly arrivedAtMs: Float64Array;
}

export interface ReadResult {
  readonly streams: readonly ReadStream[];
  readonly frames: number;
  /** From the first token that any stream received to the last one that any received. */
  readonly elapsedMs: number;
  /** CPU time during that time. */
  readonly cpuMs: CpuTimes;
}

/** For each of the given processes, for this one as `client`, and for all processes together as `machine`. */
export type CpuTimes = Readonly<Record<string, number>>;

export interface SequenceResult {
  /** From the request to the first token, for each stream. */
  readonly firstTokenMs: Float64Array;
  readonly elapsedMs: number;
  readonly cpuMs: CpuTimes;
}

export type ClientCommands = {
  /** Opens all streams at once and reads each to its end. @throws Error if one delivers more or less than was sent */
  read(params: Readers & CpuWatch): Promise<ReadResult>;
  /** Opens one stream after another, on one connection. */
  sequence(params: Readers & CpuWatch): Promise<SequenceResult>;
  /** Opens streams that don't end, waits until each has delivered `tokens`, and keeps them open. */
  hold(params: Readers): Promise<void>;
  /** As `hold`, but stops reading each stream once it has delivered `tokens`. */
  stall(params: Readers): Promise<void>;
  /** As `hold`, but closes each stream once it has delivered `tokens`. Returns how many tokens each had received. */
  leave(params: Readers): Promise<void>;
  /** Closes the streams that `hold` or `stall` left open. */
  release(params: null): void;
};

class Reader {
  readonly number: number;
  readonly connection: Connection;
  readonly counter: TextCounter;
  readonly arrivedAtMs: Float64Array;
  /** How many tokens have arrived whole. */
  arrived = 0;
  /** Called when more tokens have arrived. */
  onProgress: () => void = () => {};
  readonly #door: Door;
  readonly #url: URL;
  readonly #of: number;
  #lastBytes: Buffer = Buffer.alloc(0);

  constructor(number: number, { url, door, streams, tokens, together }: Readers, connection?: Connection) {
    this.#door = doors[door];
    this.#url = new URL(url);
    // All viewers of one generation send the same prompt.
    this.number = together ? 0 : number;
    this.#of = together ? 1 : streams;
    this.counter = new TextCounter(this.#door.marker);
    this.arrivedAtMs = new Float64Array(tokens);
    this.connection = connection ?? this.#door.connect(this.#url);
  }

  /** Resolves at the end of the stream. @throws Error if it isn't complete */
  async read(id: string): Promise<void> {
    const request = this.#door.request(this.#url, `stream ${this.number} of ${this.#of}`, id);
    await this.connection.ask(request, (bytes) => this.#take(bytes));
    const { characters } = this.counter;
    const expected = charactersOf(this.arrivedAtMs.length);
    if (characters !== expected) {
      const end = this.#lastBytes.toString().slice(-300);
      throw new Error(`stream ${this.number} brought ${characters} of ${expected} characters; its end: ${end}`);
    }
  }

  #take(bytes: Buffer): void {
    const { counter } = this;
    const before = counter.characters;
    counter.push(bytes);
    this.#lastBytes = bytes;
    if (counter.characters === before) return;
    const now = monotonicMs();
    while (this.arrived < this.arrivedAtMs.length && charactersOf(this.arrived + 1) <= counter.characters) {
      this.arrivedAtMs[this.arrived] = now;
      this.arrived += 1;
    }
    this.onProgress();
  }
}

const held = new Set<Connection>();

function openAll(params: Readers): { readers: Reader[]; ended: Promise<void>[] } {
  const shared = crypto.randomUUID();
  const readers = Array.from({ length: params.streams }, (_, number) => new Reader(number, params));
  const idOf = (number: number) => (params.together ? shared : (params.ids?.[number] ?? crypto.randomUUID()));
  const ended = readers.map((reader, number) => reader.read(idOf(number)));
  return { readers, ended };
}

/** Opens streams, waits until each has received `tokens`, and then does with each what the caller wants. */
async function openUntil(params: Readers, then: (connection: Connection) => void): Promise<void> {
  const { readers, ended } = openAll(params);
  const reached = readers.map(
    (reader) =>
      new Promise<void>((resolve) => {
        reader.onProgress = () => {
          if (reader.arrived < params.tokens) return;
          reader.onProgress = () => {};
          resolve();
          then(reader.connection);
        };
      }),
  );
  // A stream that ends before that has failed. After that, its end doesn't matter.
  await Promise.all(reached.map((each, number) => Promise.race([each, ended[number]!.then(endedEarly)])));
}

function endedEarly(): never {
  throw new Error('a stream ended that was to stay open');
}

function cpuOf({ pids }: CpuWatch): CpuTimes {
  const processes = Object.entries({ ...pids, client: process.pid }).map(([name, pid]) => [name, cpuMsOf(pid)]);
  return { ...Object.fromEntries(processes), machine: machineCpuMs() };
}

function since(before: CpuTimes, watch: CpuWatch): CpuTimes {
  return Object.fromEntries(Object.entries(cpuOf(watch)).map(([name, cpuMs]) => [name, cpuMs - before[name]!]));
}

serveCommands({
  async read(params: Readers & CpuWatch) {
    let before: { readonly cpuMs: CpuTimes; readonly atMs: number } | undefined;
    const { readers, ended } = openAll(params);
    for (const reader of readers) {
      reader.onProgress = () => {
        before ??= { cpuMs: cpuOf(params), atMs: monotonicMs() };
        reader.onProgress = () => {};
      };
    }
    try {
      await Promise.all(ended);
      return {
        cpuMs: since(before!.cpuMs, params),
        elapsedMs: monotonicMs() - before!.atMs,
        frames: readers.reduce((sum, { counter }) => sum + counter.frames, 0),
        streams: readers.map(({ number, arrivedAtMs }) => ({ number, arrivedAtMs })),
      };
    } finally {
      for (const { connection } of readers) connection.destroy();
    }
  },

  async sequence(params: Readers & CpuWatch) {
    const connection = doors[params.door].connect(new URL(params.url));
    const firstTokenMs = new Float64Array(params.streams);
    const before = cpuOf(params);
    const startedAtMs = monotonicMs();
    try {
      for (let number = 0; number < params.streams; number += 1) {
        const askedAtMs = monotonicMs();
        const reader = new Reader(number, params, connection);
        await reader.read(crypto.randomUUID());
        firstTokenMs[number] = reader.arrivedAtMs[0]! - askedAtMs;
      }
      return { firstTokenMs, elapsedMs: monotonicMs() - startedAtMs, cpuMs: since(before, params) };
    } finally {
      connection.destroy();
    }
  },

  hold: (params: Readers) => openUntil(params, (connection) => held.add(connection)),
  stall: (params: Readers) =>
    openUntil(params, (connection) => {
      connection.pause();
      held.add(connection);
    }),
  leave: (params: Readers) => openUntil(params, (connection) => connection.destroy()),
  release() {
    for (const connection of held) connection.destroy();
    held.clear();
  },
} satisfies ClientCommands);
