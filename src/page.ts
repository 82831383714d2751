/**
 * The page: the files that client-example is built into, at `/`, under a policy that runs no code but theirs and talks
 * to no other service. Knows files; what they ask for comes in through the doors like anyone's requests.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fastifyStatic } from '@fastify/static';
import type { FastifyInstance } from 'fastify';
import { LlmError } from './errors.ts';

/** Beside src/ and dist/ alike. */
const builtPage = fileURLToPath(new URL('../client-example/dist', import.meta.url));

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

/** Serves the page, if it has been built. */
export async function registerPage(app: FastifyInstance): Promise<void> {
  if (!existsSync(join(builtPage, 'index.html'))) return;
  await app.register(async (scope) => {
    // What can't be a file of the page isn't there: a path out of its folder, or one that no disk has.
    scope.setErrorHandler((error, _request, reply) => {
      // Whoever may not ask is told so here, too.
      if (error instanceof LlmError) throw error;
      return reply.callNotFound();
    });
    await scope.register(fastifyStatic, {
      root: builtPage,
      cacheControl: false,
      setHeaders(reply, path) {
        reply.headers(headers);
        // Names under assets/ hold a hash of the content.
        const lasting = path.startsWith(join(builtPage, 'assets'));
        reply.header('cache-control', lasting ? 'public, max-age=31536000, immutable' : 'no-cache');
      },
    });
  });
}
