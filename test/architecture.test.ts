import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findBreaches, readRanks } from './support/import-table.ts';

const ranks = readRanks(readFileSync('ARCHITECTURE.md', 'utf8'));

test('the source keeps to the import table', () => {
  const files = readdirSync('src', { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  const sources = new Map(
    paths.map((path) => [relative('src', path).replaceAll(sep, '/'), readFileSync(path, 'utf8')] as const),
  );

  expect(sources.size).toBeGreaterThan(0);
  expect(findBreaches(sources, ranks)).toEqual([]);
});

test('ARCHITECTURE names, for each file that keeps a map, a set or a list, the limit that bounds it', () => {
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
  const breachesOf = (path: string, text: string) => findBreaches(new Map([[path, text]]), ranks);

  test.each([
    ['an import from a lower rank', 'server/server.ts', "import { createRouter } from '../doors/trpc/router.ts';"],
    ['an import within a folder', 'upstream/retry.ts', "import { classify } from './failures.ts';"],
    ['an import within a split module', 'define-configs.ts', "import { fill } from './configs/prompt.ts';"],
    [
      'an import of the interface',
      'generations/generations.ts',
      "import type { StreamLog } from '../stream-log/stream-log.ts';",
    ],
    ['an import of an implementation', 'core.ts', "import { createMemoryLogs } from './stream-log/memory.ts';"],
    ['a package where it belongs', 'upstream/llm-service.ts', "import Anthropic from '@anthropic-ai/sdk';"],
    [
      "a folder of a package's owner",
      'doors/trpc/sse.ts',
      "import { callTRPCProcedure } from '@trpc/server/unstable-core';",
    ],
    ['a type of the router', 'client.ts', "import type { AppRouter } from './doors/trpc/router.ts';"],
    ['a re-export', 'index.ts', "export * from './client.ts';\nexport { a } from './stream-log/memory.ts';"],
    ['the environment', 'cli.ts', 'startService(parseSettings(process.env));'],
    ['the environment of an app', 'embed.ts', 'const { env = process.env } = options;'],
    ['a comment', 'errors.ts', "// import a from './cli.ts' and process.env\n/*\nimport b from './cli.ts';\n*/"],
  ])('lets %s pass', (_, path, text) => {
    expect(breachesOf(path, text)).toEqual([]);
  });

  test.each([
    [
      'doors/trpc/router.ts',
      'imports ../../server/server.ts: doors/trpc does not stand above server',
      "import { a } from '../../server/server.ts';",
    ],
    [
      'doors/rest/rest.ts',
      'imports ../trpc/wire.ts: doors/rest does not stand above doors/trpc',
      "import { a } from '../trpc/wire.ts';",
    ],
    [
      'upstream/http/a.ts',
      'imports ../messages-api/b.ts: upstream/http does not stand above upstream/messages-api',
      "import { a } from '../messages-api/b.ts';",
    ],
    [
      'doors/a.ts',
      'imports ./rest/rest.ts: doors does not stand above doors/rest',
      "import { a } from './rest/rest.ts';",
    ],
    [
      'errors.ts',
      'imports ./settings/settings.ts: errors does not stand above settings',
      "import type { A } from './settings/settings.ts';",
    ],
    ['errors.ts', 'imports ./access/access.ts: errors does not stand above access', "import './access/access.ts';"],
    ['errors.ts', 'imports ./cli.ts: errors does not stand above cli', "export {\n  a,\n  type B,\n} from './cli.ts';"],
    [
      'errors.ts',
      'imports ./doors/rest/rest.ts: errors does not stand above doors/rest',
      "const a = await import('./doors/rest/rest.ts');",
    ],
    ['errors.ts', 'imports ./nowhere.ts: errors does not stand above nowhere', "import a from './nowhere.ts';"],
    ['index.ts', 'imports ./cli.ts: index does not stand above cli', "export * from './cli.ts';"],
    [
      'upstream/a.ts',
      'imports ../access/access.ts: upstream does not stand above access',
      "import { a } from '../access/access.ts';",
    ],
    ['cli.ts', 'imports ../a.ts: src imports nothing from outside of it', "import a from '../a.ts';"],
    [
      'generations/generations.ts',
      'imports ../stream-log/memory.ts: only core',
      "import { a } from '../stream-log/memory.ts';",
    ],
    [
      'generations/generations.ts',
      'imports ../stream-log/a.ts: of stream-log/, others know',
      "import { a } from '../stream-log/a.ts';",
    ],
    [
      'doors/trpc/sse.ts',
      'imports ./router.ts: only core, server, embed, client, cli, index may',
      "import type { A } from './router.ts';",
    ],
    ['stream-log/redis.ts', 'imports ./memory.ts: only core, index may', "import { a } from './memory.ts';"],
    [
      'client.ts',
      'imports ./doors/trpc/router.ts: client imports types of protocol and doors/trpc',
      "import { a } from './doors/trpc/router.ts';",
    ],
    [
      'client.ts',
      'imports ./doors/trpc/router.ts: client imports types of protocol and doors/trpc',
      "import { type A } from './doors/trpc/router.ts';",
    ],
    [
      'client.ts',
      'imports ./errors.ts: client imports types of protocol and doors/trpc',
      "import type { A } from './errors.ts';",
    ],
    [
      'client.ts',
      'imports ./protocol.ts: client imports types of protocol and doors/trpc',
      "import { isTerminal } from './protocol.ts';",
    ],
    [
      'adapters/a.ts',
      'imports ../protocol.ts: adapters imports types of protocol',
      "import { isTerminal } from '../protocol.ts';",
    ],
    [
      'react.ts',
      'imports ./protocol.ts: react imports types of protocol and doors/trpc',
      "import { isTerminal } from './protocol.ts';",
    ],
    ['client.ts', 'imports react: only react may', "import { useState } from 'react';"],
    [
      'doors/trpc/router.ts',
      'imports @anthropic-ai/sdk: only upstream/llm-service may',
      "import Anthropic from '@anthropic-ai/sdk';",
    ],
    [
      'upstream/a.ts',
      'imports @anthropic-ai/sdk/b: only upstream/llm-service may',
      "import type { A } from '@anthropic-ai/sdk/b';",
    ],
    ['stream-log/memory.ts', 'imports redis: only stream-log/redis may', "import { createClient } from 'redis';"],
    [
      'doors/rest/rest.ts',
      'imports @trpc/server: only doors/trpc, client, react, ag-ui may',
      "import { initTRPC } from '@trpc/server';",
    ],
    ['service.ts', 'imports @trpc/client: only client, cli may', "import { createTRPCClient } from '@trpc/client';"],
    ['settings/settings.ts', 'imports node:process: only cli may', "import { env } from 'node:process';"],
    ['settings/settings.ts', 'imports process: only cli may', "import { env } from 'process';"],
    ['settings/settings.ts', 'reads process.env or process.argv: only cli.ts may', 'const port = process.env.PORT;'],
    [
      'settings/settings.ts',
      'reads process.env or process.argv: only cli.ts may',
      "const port = process['env']['PORT'];",
    ],
    ['settings/settings.ts', 'reads process.env or process.argv: only cli.ts may', 'const { argv } = process;'],
    ['embed.ts', 'reads process.env or process.argv: only cli.ts may', 'const { argv } = process;'],
    ['stray.ts', 'has no rank', ''],
    ['upstream/utils.ts', 'has a name that says nothing of its job', ''],
    ['server/server.ts', 'has 401 lines: a file has 400 at most', 'a;\n'.repeat(401)],
  ])('refuses: src/%s %s', (path, breach, text) => {
    expect(breachesOf(path, text)).toEqual([expect.stringContaining(`src/${path} ${breach}`)]);
  });
});
