import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import { doors, readAll, refusalOf, terminalOf, textOf, type AnyConfigRouter } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest({
  configs: {
    default: plainConfig,
    leaves_at_once: { ...plainConfig, on_disconnect: { cancel_after_ms: 1 } },
    goes_on: { ...plainConfig, on_disconnect: 'continue' },
  },
});

function client() {
  return createTRPCClient<AnyConfigRouter>({
    links: [httpLink({ url: `${test.current.url}/trpc`, transformer: superjson })],
  });
}

async function cancel(generationId: string) {
  return (await client().llm.cancel.mutate({ generationId })).outcome;
}

describe.each(doors)('over $name', (door) => {
  it("cancel closes upstream's socket, and its answer comes after that and after the terminal event", async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const view = door.stream(url, ask('hi', { generationId }));
    const request = await upstream.nextRequest();
    await request.text('half ');
    await view.until((event) => event.type === 'text');
    expect(await cancel(generationId)).toBe('cancelled');
    expect((await client().llm.generation.query({ generationId })).state).toBe('cancelled');
    expect(await request.outcome).toBe('client_closed');
    const seen = await readAll(view);
    expect(textOf(seen)).toBe('half ');
    expect(terminalOf(seen)).toMatchObject({ type: 'cancelled', reason: 'requested', usage: { estimated: true } });
    expect(await cancel(generationId)).toBe('already_ended');
  });

  it('when the last viewer leaves, the config’s disconnect clock starts, and when it runs out, upstream is closed', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const view = door.stream(url, ask('hi', { config: 'leaves_at_once', generationId }));
    const request = await upstream.nextRequest();
    await view.until((event) => event.type === 'start');
    view.close();
    expect(await request.outcome).toBe('client_closed');
    const [ended] = await readAll(door.follow(url, { generationId, lastEventId: `${generationId}:0` }));
    expect(ended?.event).toMatchObject({ type: 'cancelled', reason: 'disconnected' });
  });

  it('a viewer leaving does not touch another one', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const asked = ask('hi', { config: 'leaves_at_once', generationId: crypto.randomUUID() });
    const stays = door.stream(url, asked);
    const leaves = door.stream(url, asked);
    const request = await upstream.nextRequest();
    await Promise.all([stays, leaves].map((view) => view.until((event) => event.type === 'start')));
    leaves.close();
    for (const token of ['a', 'b', 'c']) {
      await request.text(token);
      await stays.until((event) => event.type === 'text' && event.text === token);
    }
    request.finish();
    expect(textOf(await readAll(stays))).toBe('abc');
  });

  it('under `continue` the answer ends without viewers, and can be followed', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const view = door.stream(url, ask('hi', { config: 'goes_on', generationId }));
    const request = await upstream.nextRequest();
    await view.until((event) => event.type === 'start');
    view.close();
    await request.text('to nobody');
    request.finish();
    expect(await request.outcome).toBe('completed');
    expect(textOf(await readAll(door.follow(url, { generationId })))).toBe('to nobody');
  });

  it('a cancel that overtakes its start bars the id: nothing is started', async () => {
    const { url, upstream } = test.current;
    const generationId = crypto.randomUUID();
    await expect(cancel(generationId)).rejects.toMatchObject({ data: { llm: { code: 'generation_not_found' } } });
    expect(await refusalOf(door.stream(url, ask('hi', { generationId })))).toMatchObject({
      code: 'generation_not_found',
    });
    expect(upstream.requestCount).toBe(0);
  });
});

it('cancelling before upstream has answered ends at once', async () => {
  const { url, upstream } = test.current;
  upstream.enqueue({ kind: 'manual' });
  const generationId = crypto.randomUUID();
  const view = doors[0]!.stream(url, ask('hi', { generationId }));
  const request = await upstream.nextRequest();
  expect(await cancel(generationId)).toBe('cancelled');
  expect(await request.outcome).toBe('client_closed');
  expect(terminalOf(await readAll(view))).toMatchObject({ type: 'cancelled', timing: { firstTokenMs: null } });
});
