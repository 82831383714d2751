import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findBreaches } from './support/import-table.ts';

test('the source keeps to the import table', () => {
  const files = readdirSync('src', { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  const sources = new Map(
    paths.map((path) => [relative('src', path).replaceAll(sep, '/'), readFileSync(path, 'utf8')] as const),
  );

  expect(sources.size).toBeGreaterThan(0);
  expect(findBreaches(sources)).toEqual([]);
});

test('ARCHITECTURE says of each file that keeps a map, a set or a list by which limit that is held', () => {
  const field = /^ {2}(?:readonly |static )*#?\w+(?:: .+)? = (?:new (?:Weak)?(?:Map|Set)\b|\[\];)/m;
  const variable = /^(?:const|let) \w+(?:: .+)? = (?:\[\];|new (?:Weak)?(?:Map|Set)(?:<.+>)?\(\);)/m;
  const section = /^## What is held, [^]*?(?=^## )/m.exec(readFileSync('ARCHITECTURE.md', 'utf8'))?.[0];
  const paths = readdirSync('src', { recursive: true, encoding: 'utf8' }).map((path) => path.replaceAll(sep, '/'));
  const keepers = paths.filter((path) => {
    const text = path.endsWith('.ts') ? readFileSync(join('src', path), 'utf8') : '';
    return field.test(text) || variable.test(text);
  });
  expect(keepers.length).toBeGreaterThan(20);
  expect(keepers.filter((path) => !section?.includes(`\`${path}\``))).toEqual([]);
});

describe('the check', () => {
  const breachesOf = (path: string, text: string) => findBreaches(new Map([[path, text]]));

  test.each([
    ['an import from a lower rank', 'server.ts', "import { createRouter } from './router.ts';"],
    ['an import within a folder', 'upstream/retry.ts', "import { classify } from './failures.ts';"],
    ['an import within a split module', 'configs.ts', "import { fill } from './prompt.ts';"],
    ['an import of the interface', 'generations.ts', "import type { StreamLog } from './stream-log/stream-log.ts';"],
    ['an import of an implementation', 'service.ts', "import { createMemoryLogs } from './stream-log/memory.ts';"],
    ['a package where it belongs', 'llm-service.ts', "import Anthropic from '@anthropic-ai/sdk';"],
    [
      "a folder of a package's owner",
      'doors/sse.ts',
      "import { callTRPCProcedure } from '@trpc/server/unstable-core';",
    ],
    ['a type of the router', 'client.ts', "import type { AppRouter } from './router.ts';"],
    ['a re-export', 'index.ts', "export * from './client.ts';\nexport { a } from './stream-log/memory.ts';"],
    ['the environment', 'cli.ts', 'startService(parseSettings(process.env));'],
    ['the environment of an app', 'embed.ts', 'const { env = process.env } = options;'],
    ['a comment', 'errors.ts', "// import a from './cli.ts' and process.env\n/*\nimport b from './cli.ts';\n*/"],
  ])('lets %s pass', (_, path, text) => {
    expect(breachesOf(path, text)).toEqual([]);
  });

  test.each([
    ['router.ts', 'imports ./server.ts: router does not stand above server', "import { a } from './server.ts';"],
    ['rest.ts', 'imports ./router.ts: rest does not stand above router', "import { a } from './router.ts';"],
    [
      'errors.ts',
      'imports ./settings.ts: errors does not stand above settings',
      "import type { A } from './settings.ts';",
    ],
    ['errors.ts', 'imports ./access.ts: errors does not stand above access', "import './access.ts';"],
    ['errors.ts', 'imports ./cli.ts: errors does not stand above cli', "export {\n  a,\n  type B,\n} from './cli.ts';"],
    ['errors.ts', 'imports ./rest.ts: errors does not stand above rest', "const a = await import('./rest.ts');"],
    ['errors.ts', 'imports ./nowhere.ts: errors does not stand above nowhere', "import a from './nowhere.ts';"],
    ['index.ts', 'imports ./cli.ts: index does not stand above cli', "export * from './cli.ts';"],
    [
      'upstream/a.ts',
      'imports ../access.ts: upstream does not stand above access',
      "import { a } from '../access.ts';",
    ],
    ['cli.ts', 'imports ../a.ts: src imports nothing from outside of it', "import a from '../a.ts';"],
    ['generations.ts', 'imports ./stream-log/memory.ts: only service', "import { a } from './stream-log/memory.ts';"],
    [
      'generations.ts',
      'imports ./stream-log/a.ts: of stream-log/, others know',
      "import { a } from './stream-log/a.ts';",
    ],
    ['stream-log/redis.ts', 'imports ./memory.ts: only service, index may', "import { a } from './memory.ts';"],
    [
      'client.ts',
      'imports ./router.ts: client imports types of protocol and router',
      "import { a } from './router.ts';",
    ],
    [
      'client.ts',
      'imports ./router.ts: client imports types of protocol and router',
      "import { type A } from './router.ts';",
    ],
    [
      'client.ts',
      'imports ./errors.ts: client imports types of protocol and router',
      "import type { A } from './errors.ts';",
    ],
    [
      'client.ts',
      'imports ./protocol.ts: client imports types of protocol and router',
      "import { isTerminal } from './protocol.ts';",
    ],
    ['router.ts', 'imports @anthropic-ai/sdk: only llm-service may', "import Anthropic from '@anthropic-ai/sdk';"],
    [
      'upstream/a.ts',
      'imports @anthropic-ai/sdk/b: only llm-service may',
      "import type { A } from '@anthropic-ai/sdk/b';",
    ],
    ['stream-log/memory.ts', 'imports redis: only stream-log/redis may', "import { createClient } from 'redis';"],
    [
      'rest.ts',
      'imports @trpc/server: only router, event-batches, server, doors, client may',
      "import { initTRPC } from '@trpc/server';",
    ],
    ['service.ts', 'imports @trpc/client: only client, cli may', "import { createTRPCClient } from '@trpc/client';"],
    ['settings.ts', 'imports node:process: only cli may', "import { env } from 'node:process';"],
    ['settings.ts', 'imports process: only cli may', "import { env } from 'process';"],
    ['settings.ts', 'reads process.env or process.argv: only cli.ts may', 'const port = process.env.PORT;'],
    ['settings.ts', 'reads process.env or process.argv: only cli.ts may', "const port = process['env']['PORT'];"],
    ['settings.ts', 'reads process.env or process.argv: only cli.ts may', 'const { argv } = process;'],
    ['embed.ts', 'reads process.env or process.argv: only cli.ts may', 'const { argv } = process;'],
    ['stray.ts', 'has no rank', ''],
    ['upstream/utils.ts', 'has a name that says nothing of its job', ''],
    ['server.ts', 'has 401 lines: a file has 400 at most', 'a;\n'.repeat(401)],
  ])('refuses: src/%s %s', (path, breach, text) => {
    expect(breachesOf(path, text)).toEqual([expect.stringContaining(`src/${path} ${breach}`)]);
  });
});
