/**
 * Decodes compressed bodies. Requests ask for `identity`, but some gateways compress all the same. Decodes every
 * encoding that Node's zlib knows, while the body arrives and with back pressure. Knows nothing of what the bytes mean.
 */
import type { Transform } from 'node:stream';
import zlib from 'node:zlib';

// With these options, a body that is cut off decodes as far as it has arrived. Without them zlib would report an error,
// and the failure would look like a wrong encoding instead of a truncated answer.
const deflate = { finishFlush: zlib.constants.Z_SYNC_FLUSH };
const brotli = { finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH };

/** Undefined before Node 22.15. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };

const decoders: Readonly<Record<string, () => Transform>> = {
  gzip: () => zlib.createGunzip(deflate),
  'x-gzip': () => zlib.createGunzip(deflate),
  // `deflate` in a header means the zlib format (RFC 9110, section 8.4.1.2).
  deflate: () => zlib.createInflate(deflate),
  br: () => zlib.createBrotliDecompress(brotli),
  ...(createZstdDecompress && { zstd: () => createZstdDecompress() }),
};

/**
 * Creates a decoder for a body with this `content-encoding`.
 *
 * @returns Undefined where the body isn't encoded; the encoding's name where it can't be decoded.
 */
export function decoderFor(contentEncoding: string | undefined): Transform | string | undefined {
  const encoding = (contentEncoding ?? '').trim().toLowerCase();
  if (encoding === '' || encoding === 'identity') return undefined;
  return Object.hasOwn(decoders, encoding) ? decoders[encoding]!() : encoding;
}
