/** Reads the whole body of a request, up to a bound, and hashes it while it arrives. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** The largest body that the API accepts. */
const bodyBytesMax = 32 * 1024 * 1024;
/** A longer body is still read, so that its sender gets to read the refusal, but not beyond this size. */
const discardedBytesMax = 256 * 1024 * 1024;

export interface ReceivedBody {
  /** The parsed body; undefined where it is no JSON or too large. */
  readonly body: unknown;
  readonly bodyBytes: number;
  readonly bodySha256: string;
  readonly tooLarge: boolean;
}

/** Resolves to undefined where the client leaves before it has sent the whole body. */
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
    // A client that leaves is not an error here: `close` resolves the promise. After a whole body `end` has resolved it
    // before.
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
