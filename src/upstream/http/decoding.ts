/**
 * Bodies that come compressed although the request asks for `identity`: some gateways do so. Decodes what Node's zlib can,
 * as it comes and with back pressure. Knows nothing of what the bytes mean.
 */
import type { Transform } from 'node:stream';
import zlib from 'node:zlib';

// What has come is passed on at once: without these, the end of a body that is cut off would be an error of zlib's and not
// the lack of an event.
const deflate = { finishFlush: zlib.constants.Z_SYNC_FLUSH };
const brotli = { finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH };

/** Node has zstd from 22.15 on. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };

const decoders: Readonly<Record<string, () => Transform>> = {
  gzip: () => zlib.createGunzip(deflate),
  'x-gzip': () => zlib.createGunzip(deflate),
  // As the header names it: deflate within zlib's wrapping (RFC 9110, 8.4.1.2).
  deflate: () => zlib.createInflate(deflate),
  br: () => zlib.createBrotliDecompress(brotli),
  ...(createZstdDecompress && { zstd: () => createZstdDecompress() }),
};

/**
 * What decodes a body with this `content-encoding`.
 *
 * @returns Undefined where there is nothing to decode, and the encoding's name where it can't be decoded.
 */
export function decoderFor(contentEncoding: string | undefined): Transform | string | undefined {
  const encoding = (contentEncoding ?? '').trim().toLowerCase();
  if (encoding === '' || encoding === 'identity') return undefined;
  return Object.hasOwn(decoders, encoding) ? decoders[encoding]!() : encoding;
}
