/**
 * Lets a cancel through where streams have taken every connection. Over HTTP/1.1 a browser opens six to a host, for all
 * of its tabs: a seventh request waits until one of them ends, and the streams don't. So where a cancel isn't answered
 * at once, streams of this client give theirs back, then those of other tabs; each is resumed from where it was when
 * the cancel has been answered, unseen by its reader. Requests for streams that wait themselves leave the browser's
 * queue meanwhile, for they would be given what is meant for the cancel, and keep it.
 */
import type { Course } from './course.ts';

/** How long a cancel may take before a connection is given back for it, and then another one. */
const stepMs = 150;
/** How long a stream may be paused, whatever becomes of the cancel. */
const pauseMsMax = 2_000;
/** How long a stream is paused for the cancel of another tab, which doesn't say when it was answered. */
const lendMs = 500;
/** The same of one that waits: later, so that what was lent is had back first. */
const holdMs = 1_000;
/**
 * Only where answers go on for as long without a viewer are others paused than those of the answer that is cancelled.
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

/** What a tab asks of the others. */
interface Plea {
  readonly generationId: string;
  /** Whether it needs a connection of theirs. */
  readonly lend: boolean;
}

export class Room {
  readonly #name: string;
  #courses: Iterable<Course> = [];
  #channel: Channel | undefined;
  #graceMs = 0;

  /** @param url Of the service: tabs on it share its connections. */
  constructor(url: string) {
    this.#name = `llm-service ${url}`;
  }

  /** Takes part, with these subscriptions and among the tabs, until the function that it returns is called. */
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

  /** Told by the service: for how long every answer goes on without a viewer, at the least. */
  announced(graceMs: number): void {
    this.#graceMs = graceMs;
  }

  /** Makes room until the function that it returns is called, for the cancel with this input. */
  claim(input: unknown): () => void {
    const generationId = String((input as { readonly generationId?: unknown } | undefined)?.generationId);
    const held: Course[] = [];
    const paused: Course[] = [];
    let steps = 0;
    const timer = setInterval(() => {
      steps += 1;
      held.push(...this.#hold());
      const given = this.#giveOne(generationId);
      if (given) paused.push(given);
      this.#channel?.postMessage({ generationId, lend: !given || steps > 1 });
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

  /** Takes back requests that haven't been answered. */
  #hold(): Course[] {
    if (this.#graceMs < graceMsMin) return [];
    return [...this.#courses].filter((course) => course.waits && course.pause());
  }

  /** Best of all one of the answer that is to be cancelled: it has nothing more to say but its end. */
  #giveOne(generationId: string): Course | undefined {
    const courses = [...this.#courses];
    const own = courses.find((course) => course.follows(generationId) && course.pause());
    if (own || this.#graceMs < graceMsMin) return own;
    return courses.find((course) => course.pause());
  }
}

/** Between the tabs of a browser; elsewhere there are none. */
function openChannel(name: string): Channel | undefined {
  const { document, BroadcastChannel } = globalThis as unknown as Page;
  if (!document || !BroadcastChannel) return undefined;
  try {
    return new BroadcastChannel(name);
  } catch {
    // A browser that keeps a page from storing anything may keep it from its other tabs, too.
    return undefined;
  }
}
