import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, it, onTestFinished } from 'vitest';
import { generateTypes } from './openapi-client/generate-types.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

interface Document {
  readonly servers: readonly { readonly url: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

async function fetchDocument(): Promise<Document> {
  const response = await fetch(`${test.current.url}/openapi.json`);
  expect(response.headers.get('content-type')).toContain('application/json');
  return (await response.json()) as Document;
}

it('the document is valid OpenAPI 3.1', async () => {
  const validator = new Validator();
  expect(await validator.validate({ ...(await fetchDocument()) })).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
});

it('the document has the routes that PROTOCOL.md has, and the service serves them', async () => {
  const { paths } = await fetchDocument();
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const protocol = readFileSync(join(root, 'PROTOCOL.md'), 'utf8');
  // AG-UI has a specification of its own.
  const told = [
    ...protocol.matchAll(/`((?:GET|POST|DELETE) \/(?!api\/llm\/ag-ui)(?:api|healthz|readyz)[^\s`?]*)/g),
  ].map(([, route]) => route!.replaceAll(/:(\w+)/g, '{$1}'));
  expect(new Set(routes)).toEqual(new Set(told));
  const absent = await Promise.all(
    routes.map(async (route) => {
      const [method = '', path = ''] = route.split(' ');
      const response = await fetch(test.current.url + path, { method });
      // A route that doesn't exist is named in the message. These routes lack a body or an id at most.
      return (await response.text()).includes('No such route') ? [route] : [];
    }),
  );
  expect(absent.flat()).toEqual([]);
});

it('the document’s server URL is relative, so that it works under any prefix', async () => {
  const { servers } = await fetchDocument();
  const bases = servers.map(({ url }) => new URL(url, 'https://example.com/ai/openapi.json').href);
  expect(bases).toEqual(['https://example.com/ai/']);
});

it('a client generated from it compiles, lists, streams, resumes, is refused and cancels', async () => {
  const { url, upstream } = test.current;
  upstream.enqueue({ kind: 'text', text: 'Hello from upstream.' });
  // Within the project, so that the client finds openapi-fetch.
  const parent = join(root, 'node_modules/.cache');
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, 'openapi-client-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'schema.ts'), await generateTypes(await fetchDocument()));
  await writeFile(join(folder, 'client.ts'), client);
  const compilerOptions = { noEmit: false, rootDir: '.', allowImportingTsExtensions: false };
  const project = { extends: join(root, 'tsconfig.json'), include: ['*.ts'], exclude: [], compilerOptions };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(project));
  await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--project', folder]).catch(
    (error: Error & { readonly stdout?: string }) => expect.fail(error.stdout ?? error.message),
  );

  const { stdout } = await run(process.execPath, [join(folder, 'client.js'), url]);
  expect(JSON.parse(stdout)).toEqual({
    configs: ['default', 'welcome', 'tutor'],
    text: 'Hello from upstream.',
    outputTokens: expect.any(Number) as number,
    resumed: [expect.stringMatching(/^event: done$/m)],
    refused: { status: 404, code: 'config_not_found', retryable: false },
    cancelled: 'already_ended',
  });
  expect(upstream.requestCount).toBe(1);
});

const client = `
import createClient from 'openapi-fetch';
import type { components, paths } from './schema.ts';

type LlmEvent = components['schemas']['LlmEvent'];

const client = createClient<paths>({ baseUrl: process.argv[2]! });
const body = { messages: [{ role: 'user' as const, content: 'Hello?' }] };
const generationId = crypto.randomUUID();

const { data: configs = [] } = await client.GET('/api/llm/configs');

async function stream(after?: string) {
  const header = { 'Idempotency-Key': generationId, ...(after === undefined ? {} : { 'Last-Event-ID': after }) };
  const { data, error } = await client.POST('/api/llm/process_stream/{config}', {
    params: { path: { config: 'default' }, header },
    body,
    parseAs: 'stream',
  });
  if (error || !data) throw new Error(error?.error.message);
  return (await new Response(data).text()).split('\\n\\n').filter((frame) => frame.includes('data: '));
}
const frames = await stream();
const events = frames.map((frame) => JSON.parse(/^data: (.*)$/m.exec(frame)![1]!) as LlmEvent);
const last = events.at(-1);
if (last?.type !== 'done') throw new Error('expected done last');

const refusal = await client.POST('/api/llm/process_stream/{config}', { params: { path: { config: 'none' } }, body });
const cancellation = await client.DELETE('/api/llm/generations/{id}', { params: { path: { id: generationId } } });

console.log(
  JSON.stringify({
    configs: configs.map(({ name }) => name),
    text: events.map((event) => (event.type === 'text' ? event.text : '')).join(''),
    outputTokens: last.usage.outputTokens,
    resumed: await stream(/^id: (.*)$/m.exec(frames.at(-2)!)![1]),
    refused: {
      status: refusal.response.status,
      code: refusal.error?.error.code,
      retryable: refusal.error?.error.retryable,
    },
    cancelled: cancellation.data?.outcome,
  }),
);

export function refusedByTheCompiler() {
  const params = { path: { config: 'default' } };
  // @ts-expect-error: there is no such route
  void client.GET('/api/llm/nothing');
  // @ts-expect-error: messages are from user or assistant
  void client.POST('/api/llm/process_stream/{config}', { params, body: { messages: [{ role: 'robot', content: '' }] } });
}
`;
