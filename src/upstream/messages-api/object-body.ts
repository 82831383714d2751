/**
 * Reads a body of status 200 that should be an event stream but isn't: JSON with an error, which some gateways send, a
 * web page, or a whole message as JSON. Reads as much as an error can be long, and turns it into an UpstreamFailure.
 */
import { UpstreamFailure, FailureCause } from '../failures.ts';
import { readError, reportsError } from './reported-error.ts';
import { wellFormedJson } from './well-formed.ts';

/** Reading stops after this many bytes. An error is much shorter. */
const bytesMax = 64 * 1024;
/** Reading stops after this many reads, since each one costs an attempt to parse everything that has arrived. */
const readsMax = 64;
const brackets = /^(?:\ufeff)?\s*[[{]/;

export class ObjectBody {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #reads = 0;
  #value: unknown;

  /**
   * Whether a body that begins with these chunks is JSON, whatever its content type. No event stream begins with a
   * bracket.
   */
  static begins(chunks: readonly Buffer[]): boolean {
    return brackets.test(chunks[0]?.toString('utf8', 0, 64) ?? '');
  }

  /** Reads the next chunks, and copies them. Returns whether enough has been read. */
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

  /** The error in the body; where there is none, the failure that the body is no event stream. */
  failure(response: { readonly requestId: string | undefined; readonly shouldRetry: boolean | undefined }) {
    const { requestId, shouldRetry: retry } = response;
    if (!reportsError(this.#value, true)) {
      const cause = new FailureCause('the response is not an event stream', { code: 'no_event_stream' });
      return new UpstreamFailure('upstream_error', { cause, requestId, retry });
    }
    const { code, type, said, requestId: reported } = readError(this.#value);
    const cause = new FailureCause('the body is an error instead of an event stream', { code: 'error_body', type });
    return new UpstreamFailure(code, { cause, requestId: requestId ?? reported, said, retry, maybeBilled: false });
  }
}
