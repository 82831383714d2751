/**
 * Gets a cancel through where streams have taken every connection. Over HTTP/1.1 a browser opens six connections to a
 * host for all of its tabs. A seventh request waits until one of them is free, and streams run for minutes. So where a
 * cancel isn't answered at once, streams of this client give their connections back, then streams of other tabs. When
 * the cancel has been answered, each is resumed from its last event, and its reader doesn't notice. Meanwhile requests
 * for streams that still wait for a connection are taken back too: the browser would give them the free connection, and
 * they would keep it.
 */
import type { Course } from './course.ts';

/**
 * How long a cancel may wait until a stream gives its connection back for it. After the same time again the next one
 * does.
 */
const stepMs = 150;
/** The longest pause of a stream, also where the cancel hasn't been answered. */
const pauseMsMax = 2_000;
/** How long a stream is paused for the cancel of another tab, since that tab doesn't report the answer. */
const lendMs = 500;
/**
 * How long a waiting request is held back for the cancel of another tab: longer, so that the paused stream gets its
 * connection first.
 */
const holdMs = 1_000;
/**
 * Streams of other answers are paused only where every generation goes on without a viewer for at least this time.
 * Otherwise a pause could cancel one.
 */
const graceMsMin = 2 * pauseMsMax;

interface Channel {
  addEventListener(type: 'message', listener: (message: { readonly data: unknown }) => void): void;
  postMessage(message: Plea): void;
  close(): void;
}

interface Page {
  readonly document?: unknown;
  readonly BroadcastChannel?: new (name: string) => Channel;
}

/** What a tab asks the others for. */
interface Plea {
  /** The generation that is to be cancelled. */
  readonly generationId: string;
  /** Whether it needs one of their connections. */
  readonly lend: boolean;
}

export class Room {
  readonly #name: string;
  #courses: Iterable<Course> = [];
  #channel: Channel | undefined;
  #graceMs = 0;

  /** @param url The service's URL. Tabs with the same URL share connections. */
  constructor(url: string) {
    this.#name = `llm-service ${url}`;
  }

  /** Makes room with these operations, and helps other tabs, until the returned function is called. */
  readonly open = (courses: Iterable<Course>): (() => void) => {
    this.#courses = courses;
    this.#channel = openChannel(this.#name);
    this.#channel?.addEventListener('message', ({ data }) => this.#help(data as Plea));
    return () => {
      this.#courses = [];
      this.#channel?.close();
      this.#channel = undefined;
    };
  };

  /** Notes what the service has announced: for how long every generation goes on without a viewer, at least. */
  announced(graceMs: number): void {
    this.#graceMs = graceMs;
  }

  /**
   * Makes room for a call until the returned function is called.
   *
   * @param cancelled The generation that the call cancels, whose own stream is the first to be paused; undefined for a call that
   *   cancels none.
   */
  claim(cancelled = ''): () => void {
    const held: Course[] = [];
    const paused: Course[] = [];
    let steps = 0;
    const timer = setInterval(() => {
      steps += 1;
      held.push(...this.#hold());
      const given = this.#giveOne(cancelled);
      if (given) paused.push(given);
      this.#channel?.postMessage({ generationId: cancelled, lend: !given || steps > 1 });
    }, stepMs);
    const release = () => {
      clearInterval(timer);
      clearTimeout(deadline);
      for (const course of [...paused.splice(0), ...held.splice(0)]) course.resume();
    };
    const deadline = setTimeout(release, pauseMsMax);
    return release;
  }

  #help({ generationId, lend }: Plea): void {
    const held = this.#hold();
    const given = lend ? this.#giveOne(generationId) : undefined;
    setTimeout(() => given?.resume(), lendMs);
    setTimeout(() => {
      for (const course of held) course.resume();
    }, holdMs);
  }

  /** Takes back the requests that the service hasn't answered. */
  #hold(): Course[] {
    if (this.#graceMs < graceMsMin) return [];
    return [...this.#courses].filter((course) => course.waits && course.pause());
  }

  /**
   * Pauses one stream. It prefers a stream of the generation that is to be cancelled, which has only its end to send.
   */
  #giveOne(generationId: string): Course | undefined {
    const courses = [...this.#courses];
    const own = courses.find((course) => course.follows(generationId) && course.pause());
    if (own || this.#graceMs < graceMsMin) return own;
    return courses.find((course) => course.pause());
  }
}

/** The channel between the tabs of a browser; undefined in other runtimes. */
function openChannel(name: string): Channel | undefined {
  const { document, BroadcastChannel } = globalThis as unknown as Page;
  if (!document || !BroadcastChannel) return undefined;
  try {
    return new BroadcastChannel(name);
  } catch {
    // A browser that forbids a page to store anything may forbid it channels too.
    return undefined;
  }
}
