/**
 * What one attempt used: upstream's own count where it gave one, an estimate where it couldn't. Knows nothing of money.
 * A number that was inferred is never passed off as told.
 */
import type { Usage } from '../protocol.ts';
import { bytesOf } from './answer-room.ts';

/** Tokens with one price list: those of a whole message, or of one of its iterations. */
export interface TokenCounts {
  /** The model that worked on it, where upstream names one. */
  readonly model: string | undefined;
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  /** All that was written to the cache, `cacheWriteHour` included. */
  readonly cacheWrite: number;
  /** What was written to be kept for an hour, which costs more. */
  readonly cacheWriteHour: number;
}

export interface AttemptUsage {
  readonly usage: Usage;
  /** What the price is to be computed over. */
  readonly billed: readonly TokenCounts[];
}

/** About as many UTF-16 units of English or code make one token. */
const charsPerToken = 4;

export class UsageMeter {
  /** Upstream's numbers, later ones over earlier ones. */
  readonly #stated: Stated = { counts: {}, iterations: [] };
  #raw: unknown = null;
  #started = false;
  #outputStated = false;
  #final = false;
  #receivedChars = 0;
  #rawBytes = 0;
  #iterationsBytes = 0;
  #replacedBytes = 0;

  /** Whether the message began, from where on upstream bills it. */
  get started(): boolean {
    return this.#started;
  }

  /** About how many bytes of memory upstream's usage takes. */
  get heldBytes(): number {
    return this.#rawBytes + this.#iterationsBytes;
  }

  /** What earlier usage took, in whose place something newer stands. */
  get replacedBytes(): number {
    return this.#replacedBytes;
  }

  /** Lets go of upstream's usage as it came; what was counted of it stays. */
  dropRaw(): void {
    this.#raw = null;
    this.#rawBytes = 0;
  }

  /** Takes the usage of `message_start`. */
  start(usage: unknown): void {
    this.#started = true;
    this.#overlay(usage);
  }

  /**
   * Takes the usage of a `message_delta`. Its numbers are cumulative and outrank those of `message_start`, also those
   * for input. `stopped` says whether the message has a stop reason, so that its output can't grow any more.
   */
  update(usage: unknown, stopped: boolean): void {
    this.#overlay(usage);
    const output = count(fieldsOf(usage)['output_tokens']);
    // Some gateways fill in zeros for what they don't know: no output, where some has come, is such a zero.
    this.#outputStated ||= output !== undefined && (output > 0 || this.#receivedChars === 0);
    this.#final ||= stopped && this.#outputStated;
  }

  /** Counts generated characters (UTF-16 units), hidden ones included, for when upstream never says how many tokens they were. */
  received(chars: number): void {
    this.#receivedChars += chars;
  }

  /** `complete` says whether the message came to its end. */
  report(complete: boolean): AttemptUsage {
    const whole = countsOf(this.#stated.counts);
    const outputIsStated = this.#final || (complete && this.#outputStated);
    const exact = outputIsStated && this.#stated.counts.input_tokens !== undefined;
    const output = outputIsStated
      ? whole.output
      : Math.max(whole.output, Math.ceil(this.#receivedChars / charsPerToken));
    // The top-level numbers leave out what compaction and other models than the main one used; the iterations have all.
    const { iterations } = this.#stated;
    const billed = iterations.length > 0 ? iterations.map(countsOf) : [{ ...whole, output }];
    return {
      usage: {
        inputTokens: whole.input,
        outputTokens: output,
        cacheReadInputTokens: whole.cacheRead,
        cacheCreationInputTokens: whole.cacheWrite,
        estimated: !exact,
        raw: this.#raw,
      },
      billed,
    };
  }

  /**
   * Counts only ever grow, so what is no count, or is zero, leaves the number that was told before: gateways are known to
   * send null, text or zeros in a `message_delta` for what their `message_start` had right. Only beside iterations a zero
   * is one: then the whole leaves out what some of them used.
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
    const { counts } = this.#stated;
    for (const name of countNames) {
      const stated = count(fields[name]);
      if (stated !== undefined && (stated > 0 || itemized || counts[name] === undefined)) counts[name] = stated;
    }
    const hour = count(fieldsOf(fields['cache_creation'])['ephemeral_1h_input_tokens']);
    if (hour) counts.cache_creation = { ephemeral_1h_input_tokens: hour };
  }
}

const countNames = ['input_tokens', 'output_tokens', 'cache_read_input_tokens', 'cache_creation_input_tokens'] as const;

/** What is kept of upstream's usage objects. Names that aren't known are not: a stream could bring new ones for ever. */
interface Stated {
  readonly counts: { [Name in (typeof countNames)[number]]?: number } & {
    cache_creation?: { readonly ephemeral_1h_input_tokens: number };
  };
  iterations: readonly unknown[];
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
