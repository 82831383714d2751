/** A config file that is edited while a tool runs: the generation that runs keeps its functions, the next one has the new ones. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import { createCore } from '../src/service.ts';
import { readSettings } from '../src/settings/settings.ts';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { bySteps, call, message, resultsIn, text } from './support/tool-scripts.ts';

finishesCleanly();

let cwd: string;
let upstream: Simulator;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'tools-reload-'));
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
});
afterEach(async () => {
  await upstream[Symbol.asyncDispose]();
  await rm(cwd, { recursive: true });
});

/** What the tools of the config file call. */
const hooks = globalThis as { toolBegins?: () => Promise<void> };

function write(name: string, property: string) {
  const input = { type: 'object', properties: { [property]: { type: 'string' } }, required: [property] };
  return writeFile(
    join(cwd, 'a.ts'),
    `import { tool } from ${JSON.stringify(new URL('../src/tools/tool.ts', import.meta.url).pathname)};
const named = tool({
  description: 'Gives its name',
  input: ${JSON.stringify({ ...input, additionalProperties: false })} as never,
  execute: async () => (await (globalThis as any).toolBegins?.(), ${JSON.stringify(name)}),
});
export default { one: { model: 'claude-sonnet-5-5', max_tokens: 100, system_prompt: '', tools: { named } } };`,
  );
}

it('the running generation keeps its closures, the next one has the new ones, and the hash changes with the schema', async () => {
  await write('old', 'city');
  const env = { LLM_CONFIG: 'a.ts', ANTHROPIC_BASE_URL: upstream.url, LOG_LEVEL: 'silent' };
  const telemetry = new Telemetry({ logLevel: 'silent', logContent: false });
  await using core = await createCore({ settings: readSettings(env), env, cwd, telemetry });
  upstream.respondWith(
    bySteps(
      () => message(call('a', 'named', { city: 'A' })),
      () => message(call('b', 'named', { city: 'B' })),
      () => message(text('Done.')),
    ),
  );
  const answer = async () => {
    const request = { config: 'one', messages: [{ role: 'user' as const, content: 'hi' }] };
    let last: LlmEvent | undefined;
    const view = core.generations.stream({ name: 'anonymous' }, request, new AbortController().signal);
    for await (const batch of view) last = batch.at(-1)!.event;
    return last;
  };
  let open = () => {};
  const gate = new Promise<void>((resolve) => (open = resolve));
  const begun = new Promise<void>((resolve) => {
    hooks.toolBegins = () => {
      resolve();
      return gate;
    };
  });
  const first = answer();
  await begun;
  const { hash } = core.configs().get('one')!;
  await write('new', 'city');
  await core.liveConfigs!.reload();
  expect(core.configs().get('one')!.hash).toBe(hash);
  delete hooks.toolBegins;
  open();
  expect(await first).toMatchObject({ type: 'done', steps: 3 });
  expect(upstream.requests.slice(1, 3).map(resultsIn)).toEqual([{ a: 'old' }, { b: 'old' }]);
  expect(await answer()).toMatchObject({ type: 'done', steps: 3 });
  expect(resultsIn(upstream.requests[4]!)).toEqual({ a: 'new' });
  await write('new', 'town');
  await core.liveConfigs!.reload();
  expect(core.configs().get('one')!.hash).not.toBe(hash);
});
