/**
 * The page: the files that client-example is built into, at `/`, under a policy that runs no code but theirs and talks
 * to no other service. Knows files; what they ask for comes in through the doors like anyone's requests.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { send } from '@fastify/send';
import type { FastifyInstance } from 'fastify';

/** Beside src/ and dist/ alike. */
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

/** Statuses about what a request asks of a file that is there: its version, and a part of it. */
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
      // What can't be a file of the page isn't there: a path out of its folder, or one that no disk has.
      if (file.type !== 'file' && !unmetConditions.has(file.statusCode)) return reply.callNotFound();
      // Names under assets/ hold a hash of the content.
      const lasting = file.type === 'file' && file.metadata.path.startsWith(join(builtPage, 'assets'));
      return reply
        .code(file.statusCode)
        .headers({ ...file.headers, ...headers })
        .header('cache-control', lasting ? 'public, max-age=31536000, immutable' : 'no-cache')
        .send(file.stream);
    },
  });
}
