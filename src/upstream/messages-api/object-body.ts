/**
 * The body of an answer that should be a stream and is none: JSON with an error in it, as some gateways send it with status
 * 200, a web page, a whole message. Reads as much as an error can be, and says what to make of it.
 */
import { UpstreamFailure, FailureCause } from '../failures.ts';
import { readError, reportsError } from './reported-error.ts';
import { wellFormedJson } from './well-formed.ts';

/** An error is much shorter. */
const bytesMax = 64 * 1024;
/** After so many reads nobody waits for its end: each is followed by an attempt to parse what there is. */
const readsMax = 64;
const brackets = /^(?:\ufeff)?\s*[[{]/;

export class ObjectBody {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #reads = 0;
  #value: unknown;

  /** Whether a body that begins with these is an object, whatever its type says: no line of an event stream begins so. */
  static begins(chunks: readonly Buffer[]): boolean {
    return brackets.test(chunks[0]?.toString('utf8', 0, 64) ?? '');
  }

  /** Takes the next bytes, which stay the caller's. Says whether nothing more need be read. */
  push(chunks: readonly Buffer[]): boolean {
    for (const chunk of chunks) {
      this.#chunks.push(Buffer.from(chunk));
      this.#bytes += chunk.length;
    }
    this.#reads += 1;
    const text = Buffer.concat(this.#chunks).toString();
    if (this.#bytes > bytesMax || this.#reads > readsMax || !brackets.test(text)) return true;
    try {
      this.#value = JSON.parse(wellFormedJson(text.replace(/^\ufeff/, '')));
      return true;
    } catch {
      return false;
    }
  }

  /** The error that stands in it; failing that, that it is no stream. */
  failure(response: { readonly requestId: string | undefined; readonly shouldRetry: boolean | undefined }) {
    const { requestId, shouldRetry: retry } = response;
    if (!reportsError(this.#value, true)) {
      const cause = new FailureCause('the answer is no event stream', { code: 'no_event_stream' });
      return new UpstreamFailure('upstream_error', { cause, requestId, retry });
    }
    const { code, type, said, requestId: reported } = readError(this.#value);
    const cause = new FailureCause('an error stands in place of a stream', { code: 'error_body', type });
    return new UpstreamFailure(code, { cause, requestId: requestId ?? reported, said, retry, maybeBilled: false });
  }
}
