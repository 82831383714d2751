/**
 * How fast events come in: tokens and the longest gap between events, in a window of time that moves along. Bounded, and
 * cheap enough to be told of each event. Knows nothing of how it is drawn.
 */
import type { LlmEvent } from 'llm-service/client';

/** One column of the plot. */
const bucketMs = 250;
const bucketsMax = 120;
/** What tokens come to in text, about. */
const charsPerToken = 4;

interface Bucket {
  chars: number;
  events: number;
  gapMs: number;
}

export interface Readings {
  /** Oldest first, each over half a second, without the one that is still filling. */
  readonly tokensPerSecond: readonly number[];
  readonly gapsMs: readonly number[];
  /** Over the last whole second. */
  readonly now: { readonly tokensPerSecond: number; readonly eventsPerSecond: number; readonly gapMs: number };
}

export class Meter {
  #buckets: Bucket[] = [];
  #bucketAtMs = 0;
  #lastEventMs: number | undefined;

  /** Gaps count from here on. */
  begin(nowMs = performance.now()): void {
    this.#advance(nowMs);
    this.#lastEventMs = nowMs;
  }

  record(event: LlmEvent, nowMs = performance.now()): void {
    const bucket = this.#gap(nowMs);
    bucket.events += 1;
    if (event.type === 'text' || event.type === 'thinking') bucket.chars += event.text.length;
    this.#lastEventMs = nowMs;
  }

  /** No more gaps. */
  end(): void {
    this.#lastEventMs = undefined;
  }

  read(nowMs = performance.now()): Readings {
    const { gapMs } = this.#gap(nowMs);
    const perSecond = 1_000 / bucketMs;
    const tokens = (bucket: Bucket) => bucket.chars / charsPerToken;
    const second = this.#buckets.slice(-1 - perSecond, -1);
    return {
      tokensPerSecond: this.#buckets
        .slice(1, -1)
        .map((bucket, at) => ((tokens(bucket) + tokens(this.#buckets[at]!)) / 2) * perSecond),
      gapsMs: this.#buckets.map((bucket) => bucket.gapMs),
      now: {
        tokensPerSecond: second.reduce((sum, bucket) => sum + tokens(bucket), 0),
        eventsPerSecond: second.reduce((sum, { events }) => sum + events, 0),
        gapMs,
      },
    };
  }

  /** The current bucket, with the gap that is open now counted in. */
  #gap(nowMs: number): Bucket {
    const bucket = this.#advance(nowMs);
    if (this.#lastEventMs !== undefined) bucket.gapMs = Math.max(bucket.gapMs, nowMs - this.#lastEventMs);
    return bucket;
  }

  #advance(nowMs: number): Bucket {
    const atMs = Math.floor(nowMs / bucketMs) * bucketMs;
    if (this.#buckets.length === 0 || atMs - this.#bucketAtMs >= bucketsMax * bucketMs) {
      this.#buckets = Array.from({ length: bucketsMax }, emptyBucket);
      this.#bucketAtMs = atMs;
    }
    for (; this.#bucketAtMs < atMs; this.#bucketAtMs += bucketMs) {
      this.#buckets.push(emptyBucket());
      this.#buckets.shift();
    }
    return this.#buckets.at(-1)!;
  }
}

function emptyBucket(): Bucket {
  return { chars: 0, events: 0, gapMs: 0 };
}
