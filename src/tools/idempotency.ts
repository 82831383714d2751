/** Keys for the calls of a generation, which stay the same where its request is run anew. Upstream's ids of calls don't. */
import { createHash } from 'node:crypto';

export class IdempotencyKeys {
  readonly #scope: string;
  /** How many calls of the generation had the same tool and input. */
  readonly #counts = new Map<string, number>();

  constructor(caller: string, generationId: string) {
    this.#scope = JSON.stringify([caller, generationId]);
  }

  /** The key of the next call of this tool with this input. 64 hex digits. */
  next(tool: string, input: unknown): string {
    const call = digest(JSON.stringify([tool, canonical(input)]));
    const count = this.#counts.get(call) ?? 0;
    this.#counts.set(call, count + 1);
    return digest(`${this.#scope} ${call} ${count}`);
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The value with the keys of its objects in order: the model may write them in another order the next time. */
function canonical(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(canonical);
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return { object: entries.map(([key, each]) => [key, canonical(each)]) };
}
