/**
 * Measures what one attempt used: by upstream's own counts where it sent them, by an estimate where it couldn't. Knows
 * nothing of money. Usage that contains an estimate is always marked as estimated.
 */
import type { Usage } from '../protocol.ts';
import { bytesOf } from './answer-room.ts';

/** Tokens with one price: those of a whole message, or of one of its iterations. */
export interface TokenCounts {
  /** The model that generated them; undefined where upstream names none, which means the config's model. */
  readonly model: string | undefined;
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  /** All tokens written to the cache, including `cacheWriteHour`. */
  readonly cacheWrite: number;
  /** Tokens written to the cache for an hour, which cost more. */
  readonly cacheWriteHour: number;
}

export interface AttemptUsage {
  readonly usage: Usage;
  /** The counts from which the cost is computed. */
  readonly billed: readonly TokenCounts[];
  /** Whether upstream served the request in a way that has a price of its own: faster, or in a region of choice. */
  readonly specialPrice: boolean;
}

/** One token of English or of code is about this many UTF-16 units. */
const charsPerToken = 4;

export class UsageMeter {
  /** Upstream's numbers, where later ones replace earlier ones. */
  readonly #stated: Stated = { counts: {}, iterations: [] };
  #raw: unknown = null;
  #started = false;
  #outputStated = false;
  #final = false;
  #receivedChars = 0;
  #rawBytes = 0;
  #iterationsBytes = 0;
  #replacedBytes = 0;

  /** Whether the message has begun. From then on upstream bills it. */
  get started(): boolean {
    return this.#started;
  }

  /** About how many bytes of memory upstream's usage object takes. */
  get heldBytes(): number {
    return this.#rawBytes + this.#iterationsBytes;
  }

  /** The sizes of all usage objects that newer ones have replaced. */
  get replacedBytes(): number {
    return this.#replacedBytes;
  }

  /** Drops upstream's usage object. The counts stay. */
  dropRaw(): void {
    this.#raw = null;
    this.#rawBytes = 0;
  }

  /** Reads the usage of `message_start`. */
  start(usage: unknown): void {
    this.#started = true;
    this.#overlay(usage);
  }

  /**
   * Reads the usage of a `message_delta`. Its numbers are sums since the message began, and replace those of
   * `message_start`, input included. `stopped` says whether the message has a stop reason, after which its output
   * doesn't grow any more.
   */
  update(usage: unknown, stopped: boolean): void {
    this.#overlay(usage);
    const output = count(fieldsOf(usage)['output_tokens']);
    // Some gateways send 0 for a number that they don't know. Where output has arrived, 0 output tokens is such a
    // number.
    this.#outputStated ||= output !== undefined && (output > 0 || this.#receivedChars === 0);
    this.#final ||= stopped && this.#outputStated;
  }

  /**
   * Counts generated UTF-16 units, including thinking that isn't emitted. The estimate uses them where upstream sends
   * no counts.
   */
  received(chars: number): void {
    this.#receivedChars += chars;
  }

  /** @param complete Whether `message_stop` has arrived. */
  report(complete: boolean): AttemptUsage {
    const whole = countsOf(this.#stated.counts);
    const outputIsStated = this.#final || (complete && this.#outputStated);
    const exact = outputIsStated && this.#stated.counts.input_tokens !== undefined;
    const output = outputIsStated
      ? whole.output
      : Math.max(whole.output, Math.ceil(this.#receivedChars / charsPerToken));
    // The numbers of the whole message leave out compaction and models other than the main one. Its iterations contain
    // all of it.
    const { iterations, speed, serviceTier, inferenceGeo } = this.#stated;
    const billed = iterations.length > 0 ? iterations.map(countsOf) : [{ ...whole, output }];
    return {
      usage: {
        inputTokens: whole.input,
        outputTokens: output,
        cacheReadInputTokens: whole.cacheRead,
        cacheCreationInputTokens: whole.cacheWrite,
        estimated: !exact,
        raw: this.#raw,
        ...(serviceTier === undefined ? {} : { serviceTier }),
        ...(speed === undefined ? {} : { speed }),
      },
      billed,
      specialPrice: speed === 'fast' || serviceTier === 'priority' || !ordinaryGeos.has(inferenceGeo),
    };
  }

  /**
   * Replaces earlier numbers by those of a new usage object. Real counts only grow, so 0, null and text replace
   * nothing: some gateways send them in `message_delta` although their `message_start` had the right number. Where the
   * object has iterations, 0 is a real count, since the numbers of the whole message then leave out some iterations.
   */
  #overlay(usage: unknown): void {
    if (typeof usage !== 'object' || usage === null) return;
    this.#replacedBytes += this.#rawBytes;
    this.#raw = usage;
    this.#rawBytes = bytesOf(usage);
    const fields = fieldsOf(usage);
    const iterations = fields['iterations'];
    const itemized = Array.isArray(iterations) && iterations.length > 0;
    if (itemized) {
      this.#stated.iterations = iterations;
      this.#iterationsBytes = this.#rawBytes;
    }
    for (const [field, name] of wordNames) {
      const word = fields[field];
      if (typeof word === 'string') this.#stated[name] = word.slice(0, wordCharsMax);
    }
    const { counts } = this.#stated;
    for (const name of countNames) {
      const stated = count(fields[name]);
      if (stated !== undefined && (stated > 0 || itemized || counts[name] === undefined)) counts[name] = stated;
    }
    const hour = count(fieldsOf(fields['cache_creation'])['ephemeral_1h_input_tokens']);
    if (hour) counts.cache_creation = { ephemeral_1h_input_tokens: hour };
  }
}

/** The words in which upstream says how it served the request. */
const wordNames = [
  ['service_tier', 'serviceTier'],
  ['speed', 'speed'],
  ['inference_geo', 'inferenceGeo'],
] as const;
const wordCharsMax = 100;

/** Regions without a price of their own. */
const ordinaryGeos: ReadonlySet<string | undefined> = new Set([undefined, 'global', 'not_available']);

const countNames = ['input_tokens', 'output_tokens', 'cache_read_input_tokens', 'cache_creation_input_tokens'] as const;

/**
 * The parts of upstream's usage objects that are kept. Unknown fields aren't, since a stream could send new ones for
 * ever.
 */
interface Stated {
  readonly counts: { [Name in (typeof countNames)[number]]?: number } & {
    cache_creation?: { readonly ephemeral_1h_input_tokens: number };
  };
  iterations: readonly unknown[];
  serviceTier?: string;
  speed?: string;
  inferenceGeo?: string;
}

function countsOf(usage: unknown): TokenCounts {
  const fields = fieldsOf(usage);
  const creation = fieldsOf(fields['cache_creation']);
  const model = fields['model'];
  const cacheWrite = count(fields['cache_creation_input_tokens']) ?? 0;
  return {
    model: typeof model === 'string' ? model : undefined,
    input: count(fields['input_tokens']) ?? 0,
    output: count(fields['output_tokens']) ?? 0,
    cacheRead: count(fields['cache_read_input_tokens']) ?? 0,
    cacheWrite,
    cacheWriteHour: Math.min(count(creation['ephemeral_1h_input_tokens']) ?? 0, cacheWrite),
  };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function count(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}
