/**
 * The names of everything that the log keeps in Redis. All keys of a shard carry the same hash tag, so that in a cluster they
 * stand in one slot and one script can use them together.
 */
import { createHash } from 'node:crypto';
import type { GenerationKey } from '../stream-log.ts';

/** The version of the layout. Raise it whenever keys, or what stands in them, change, so that a rolling deploy never mixes two. */
const layout = 'llm1';

/** The keys of one generation. */
export interface LogKeys {
  /** A list, the log: an element is an event, its index the offset. */
  readonly log: string;
  /** A hash: `o` the owner's name, `s` the generation's state (`r` running, `e` ended), `h` the request's hash. */
  readonly meta: string;
  /** A string with an expiry: the id is spent or barred. */
  readonly spent: string;
}

/** The names of one shard. */
export class ShardKeys {
  readonly #tag: string;
  /** A hash: instance to counter. */
  readonly beats: string;
  /** A string, `<random>:<ms since 1970>`, made once. It is gone where Redis has forgotten everything. */
  readonly era: string;
  /** What the names of all inboxes of the shard begin with. */
  readonly inboxes: string;

  /** @param prefix What `REDIS_URL` names, or the empty string. */
  constructor(prefix: string, shard: number) {
    this.#tag = `${namespace(prefix)}:{${shard}}`;
    this.beats = `${this.#tag}:beats`;
    this.era = `${this.#tag}:era`;
    this.inboxes = `${this.#tag}:in:`;
  }

  /** A sharded channel: the messages for one instance. */
  inbox(instance: string): string {
    return this.inboxes + instance;
  }

  /** A hash with a field for each generation that the instance runs. Its value: `!` if it is to be cancelled, then `,a,b,`, the instances that watch. */
  live(instance: string): string {
    return `${this.#tag}:live:${instance}`;
  }

  of(k: string): LogKeys {
    return { log: `${this.#tag}:${k}:l`, meta: `${this.#tag}:${k}:m`, spent: `${this.#tag}:${k}:x` };
  }
}

/** A sorted set: a caller's generationIds by their start. With a thread, those that were started with it, in the same slot. */
export function callerIndex(prefix: string, caller: string, thread?: string): string {
  const all = `${namespace(prefix)}:by:{${digest(caller).toString('base64url')}}`;
  // As JSON, since half a surrogate pair has no bytes of its own.
  return thread === undefined ? all : `${all}:${digest(JSON.stringify(thread)).toString('base64url')}`;
}

/** The name of a generation within its shard, and which shard that is. A generationId has no blank in it, so no two keys give the same text. */
export function placeOf({ caller, generationId }: GenerationKey, shards: number): { shard: number; k: string } {
  const bytes = digest(`${generationId} ${caller}`);
  return { shard: bytes.readUInt32LE(0) % shards, k: bytes.toString('base64url') };
}

function namespace(prefix: string): string {
  return prefix === '' ? layout : `${prefix}:${layout}`;
}

/** 128 bits: two of a trillion generations share them in one of a hundred trillion services. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest().subarray(0, 16);
}
