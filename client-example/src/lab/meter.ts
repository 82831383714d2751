/**
 * Measures how fast events arrive: tokens, and the longest gap between events, over a sliding window of time. Its
 * memory is bounded, and recording an event is cheap. Knows nothing of how the readings are drawn.
 */
import type { LlmEvent } from 'llm-service/client';

/** One column of the plot. */
const bucketMs = 250;
const bucketsMax = 120;
/** About how many characters of text one token makes. */
const charsPerToken = 4;

interface Bucket {
  chars: number;
  events: number;
  gapMs: number;
}

export interface Readings {
  /** Oldest first, each over half a second. The column that is still filling is not included. */
  readonly tokensPerSecond: readonly number[];
  readonly gapsMs: readonly number[];
  /** Over the last whole second. */
  readonly now: { readonly tokensPerSecond: number; readonly eventsPerSecond: number; readonly gapMs: number };
}

export class Meter {
  #buckets: Bucket[] = [];
  #bucketAtMs = 0;
  #lastEventMs: number | undefined;

  /** The meter counts gaps from this moment on. */
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

  /** Stops counting gaps. */
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

  /** The current bucket, with the gap that is still open counted in. */
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
