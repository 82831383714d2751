/** Asked for an object, the simulator answers with one that fits the schema; each config of `llm.config.ts` gets along with it. */
import { expect, it } from 'vitest';
import { z } from 'zod';
import configs from '../llm.config.ts';
import { dataSchemaOf } from '../src/tools/schemas.ts';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig } from './support/llm-stream.ts';
import { ask, startTestService } from './support/service.ts';

finishesCleanly();

const schemas = [
  z.object({
    name: z.string(),
    born: z.iso.date().optional(),
    tags: z.array(z.enum(['a', 'b'])),
    size: z.int().min(3),
  }),
  z.object({ item: z.discriminatedUnion('kind', [z.object({ kind: z.literal('x'), on: z.boolean() })]).nullable() }),
  z.array(z.union([z.object({ text: z.string() }), z.string()])),
  z.object({ at: z.iso.datetime(), mail: z.email(), id: z.uuid(), page: z.url() }),
];

it.each(schemas.map((schema, index) => [index, schema] as const))('schema %i', async (_, output) => {
  await using bench = await startBench();
  const heard = await bench.hear(testConfig({ output }), undefined, [
    { role: 'user', content: 'Ask Ada about 7 ships' },
  ]);
  expect(heard.terminal).toMatchObject({ type: 'done', object: 'valid' });
  expect(await dataSchemaOf(output, 'output').validate(JSON.parse(heard.text))).toMatchObject({ ok: true });
  const [request] = bench.simulator.requests;
  expect((await bench.hear(testConfig({ output }), undefined, request!.body.messages)).text).toBe(heard.text);
});

it('the config `extract` answers with an object', async () => {
  await using service = await startTestService({ configs: configs as never });
  const seen = await readAll(
    doors[0]!.stream(service.url, ask('The report is written by Ada.', { config: 'extract' })),
  );
  expect(terminalOf(seen)).toMatchObject({ type: 'done', object: 'valid' });
  expect(JSON.parse(textOf(seen))).toMatchObject({ title: expect.any(String) as string, people: ['Ada'] });
});

it('a schema that upstream can’t compile ends the generation with upstream’s reason in the log', async () => {
  await using bench = await startBench();
  const parts = Array.from({ length: 1_001 }, (_, index) => [`p${index}`, z.string()]);
  const { terminal } = await bench.hear(testConfig({ output: z.object(Object.fromEntries(parts)) }));
  expect(terminal).toMatchObject({ type: 'error', code: 'upstream_invalid_request' });
  expect(bench.failures[0]!.said).toMatch(/compiled grammar is too large/);
});
