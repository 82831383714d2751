/**
 * The page: the built files of client-example, at `/`, under a content security policy that runs no other code and connects to no
 * other service. Knows files alone. The page's requests come in by the doors, as those of any client do.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { send } from '@fastify/send';
import type { FastifyInstance } from 'fastify';

/** The same path from src/server/ and from dist/server/. */
const builtPage = fileURLToPath(new URL('../../client-example/dist', import.meta.url));

const headers = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "font-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const;

/** Statuses of a file that exists, but not in the version (412), or not with the part (416), that the request asks for. */
const unmetConditions: ReadonlySet<number> = new Set([412, 416]);

/** Serves the page, if it has been built. */
export async function registerPage(app: FastifyInstance): Promise<void> {
  if (!existsSync(join(builtPage, 'index.html'))) return;
  app.route<{ Params: { '*': string } }>({
    method: ['GET', 'HEAD'],
    url: '/*',
    async handler(request, reply) {
      const [path = '/'] = request.raw.url!.split('?', 1);
      const file = await send(request.raw, path, { root: builtPage, cacheControl: false });
      // A path out of the folder, or one that no file system allows, is refused as a file that doesn't exist.
      if (file.type !== 'file' && !unmetConditions.has(file.statusCode)) return reply.callNotFound();
      // A name under assets/ holds a hash of the content, so the content under it never changes.
      const lasting = file.type === 'file' && file.metadata.path.startsWith(join(builtPage, 'assets'));
      return reply
        .code(file.statusCode)
        .headers({ ...file.headers, ...headers })
        .header('cache-control', lasting ? 'public, max-age=31536000, immutable' : 'no-cache')
        .send(file.stream);
    },
  });
}
