/** Reads the body of a request, whole and bounded, and hashes it as it comes. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** What the API takes: 32 MB. */
const bodyBytesMax = 32 * 1024 * 1024;
/** A longer body is still read to its end, so that its sender gets to read the refusal, but no further than this. */
const discardedBytesMax = 256 * 1024 * 1024;

export interface ReceivedBody {
  /** The parsed body; undefined if it was no JSON, or too large. */
  readonly body: unknown;
  readonly bodyBytes: number;
  readonly bodySha256: string;
  readonly tooLarge: boolean;
}

/** Settles with undefined if the client left before it had sent it all. */
export function receiveBody(request: IncomingMessage): Promise<ReceivedBody | undefined> {
  return new Promise((resolve) => {
    const hash = createHash('sha256');
    let chunks: Buffer[] = [];
    let bodyBytes = 0;
    request.on('data', (chunk: Buffer) => {
      bodyBytes += chunk.length;
      hash.update(chunk);
      if (bodyBytes <= bodyBytesMax) chunks.push(chunk);
      else chunks = [];
      if (bodyBytes > discardedBytesMax) request.destroy();
    });
    request.once('end', () => {
      const tooLarge = bodyBytes > bodyBytesMax;
      const body = tooLarge ? undefined : parseJson(Buffer.concat(chunks).toString());
      resolve({ body, bodyBytes: tooLarge ? 0 : bodyBytes, bodySha256: hash.digest('hex'), tooLarge });
    });
    // A client that leaves is no error of ours; `close` tells it, after an `end` in the good case.
    request.on('error', () => {});
    request.once('close', () => resolve(undefined));
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
