/** Calls that wait for a client are answered through either of two instances that share a Redis. */
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { z } from 'zod';
import { LlmError } from '../src/errors.ts';
import { TakenAnswers } from '../src/stream-log/redis/answers.ts';
import { clientTool } from '../src/tools/tool.ts';
import { doors, readAll, terminalOf, type AnyConfigRouter } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, startTestService, type TestService } from './support/service.ts';
import { requires } from './support/skip.ts';
import { newPrefix, redisForAllTests } from './support/stream-logs.ts';
import { bySteps, call, city, message, resultsIn, text, withTools } from './support/tool-scripts.ts';

finishesCleanly();

const client = (url: string) =>
  createTRPCClient<AnyConfigRouter>({ links: [httpLink({ url: `${url}/trpc`, transformer: superjson })] });
const pick = clientTool({ description: 'Picks', input: city, output: z.object({ file: z.string() }) });
const configs = { default: withTools({ pick }) };
const refusalIn = (error: { data: { llm: object } }) => error.data.llm;

it('answers that are passed on again under the same number are taken once, and have the same reply', async () => {
  let taken = 0;
  const answers = new TakenAnswers(async ([answer]) => {
    taken += 1;
    if (answer!.id === 'bad') throw LlmError.invalidInput([{ path: 'results[0].id', message: 'no' }]);
    return 1;
  });
  const good = [{ id: 'p', output: 1 }];
  expect(await Promise.all([answers.replyTo('1', good), answers.replyTo('1', good)])).toEqual([
    { resolved: 1 },
    { resolved: 1 },
  ]);
  expect(await answers.replyTo('2', [{ id: 'bad', output: 1 }])).toMatchObject({ error: { code: 'invalid_input' } });
  expect(taken).toBe(2);
});

requires('redis-server')('of two instances', () => {
  const redis = redisForAllTests();
  let a: TestService;
  let b: TestService;

  beforeEach(async () => {
    const env = { REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}` };
    a = await startTestService({ configs, env });
    b = await startTestService({ configs, env: { ...env, ANTHROPIC_BASE_URL: a.upstream.url } });
    a.upstream.respondWith(
      bySteps(
        () => message(call('p', 'pick', { city: 'P' }), call('q', 'pick', { city: 'Q' })),
        () => message(text('Done.')),
      ),
    );
  });
  afterEach(async () => {
    await b[Symbol.asyncDispose]();
    await a[Symbol.asyncDispose]();
    for (const service of [a, b]) {
      for (const [what, left] of Object.entries(service.leftovers())) expect(left, `${what} left over`).toBe(0);
    }
  });

  it.each(doors)(
    'a viewer over $name of the other one answers there, the first answer wins, and refusals are the same',
    async (door) => {
      const generationId = crypto.randomUUID();
      const owner = door.stream(a.url, ask('hi', { generationId }));
      await owner.until((event) => event.type === 'tool_call' && event.id === 'q');
      const viewer = door.follow(b.url, { generationId });
      await viewer.until((event) => event.type === 'tool_call' && event.id === 'q');
      const { resolve } = client(b.url).llm;
      const answer = (id: string, file: unknown) =>
        resolve.mutate({ generationId, results: [{ id, output: { file } }] });
      expect(await answer('p', 7).catch(refusalIn)).toMatchObject({
        code: 'invalid_input',
        issues: [{ path: 'results[0].output.file' }],
      });
      expect(await answer('never-was', 'x').catch(refusalIn)).toMatchObject({ code: 'invalid_input' });
      expect(await answer('p', 'p.txt')).toEqual({ resolved: 1 });
      expect(await answer('p', 'p.txt').catch(refusalIn)).toMatchObject({
        code: 'conflict',
        issues: [{ path: 'results[0].id' }],
      });
      const raced = await Promise.all([
        answer('q', 'b.txt').catch(refusalIn),
        client(a.url)
          .llm.resolve.mutate({ generationId, results: [{ id: 'q', output: { file: 'a.txt' } }] })
          .catch(refusalIn),
      ]);
      expect(raced).toContainEqual({ resolved: 1 });
      expect(raced).toContainEqual(expect.objectContaining({ code: 'conflict' }));
      const [here, there] = await Promise.all([readAll(owner), readAll(viewer)]);
      expect(terminalOf(there)).toEqual(terminalOf(here));
      expect(Object.keys(resultsIn(a.upstream.requests[1]!))).toEqual(['p', 'q']);
      expect(await answer('q', 'x').catch(refusalIn)).toMatchObject({ code: 'conflict' });
      expect(a.upstream.requestCount).toBe(2);
    },
  );
});
