import { describe, expect, it } from 'vitest';
import { readAll, terminalOf, textOf, type Door } from '../support/doors.ts';
import { inProcessDoor, lastingDoors } from '../support/every-door.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { ask, plainConfig, serviceForEachTest } from '../support/service.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

finishesCleanly();
/** Several times as long as a busy machine takes to reconnect. */
const graceMs = 300;
const test = serviceForEachTest({
  configs: {
    default: { ...plainConfig, on_disconnect: { cancel_after_ms: graceMs } },
    goes_on: { ...plainConfig, on_disconnect: 'continue' },
  },
});

describe.each([...lastingDoors, inProcessDoor(() => test.current)])('over $name', (door) => {
  it('the clock starts with the last viewer, not with the first that leaves', async () => {
    const { url } = test.current;
    const { asked, request, view } = await start(door);
    const second = door.stream(url, asked);
    await second.until((event) => event.type === 'start');
    view.close();
    await aGraceTimePasses(door);
    await request.text('still here');
    await second.until((event) => event.type === 'text');
    second.close();
    expect(await request.outcome).toBe('client_closed');
    const seen = await readAll(door.follow(url, { generationId: asked.generationId }));
    expect(terminalOf(seen)).toMatchObject({ type: 'cancelled', reason: 'disconnected' });
    expect(textOf(seen)).toBe('still here');
  });

  it('the clock stops when a viewer returns, and starts again when that viewer leaves', async () => {
    const { url } = test.current;
    const { asked, request, view } = await start(door);
    for (let round = 0; round < 3; round += 1) {
      if (round === 0) view.close();
      const back = door.follow(url, { generationId: asked.generationId });
      await back.until((event) => event.type === 'start');
      await aGraceTimePasses(door);
      await request.text(`${round}`);
      await back.until((event) => event.type === 'text' && event.text.endsWith(`${round}`));
      back.close();
    }
    expect(await request.outcome).toBe('client_closed');
  });

  it('a cut after which the client reconnects cancels nothing', async () => {
    const { url } = test.current;
    await using proxy = await startTcpProxy(url);
    const { request, view } = await start(door, 'default', proxy.url);
    door.cut(proxy);
    await request.text('one');
    await view.until((event) => event.type === 'text');
    await aGraceTimePasses(door);
    await request.text(' two');
    request.finish();
    expect(textOf(await readAll(view))).toBe('one two');
  });

  it('under `continue` it runs to its end without viewers, and can be followed', async () => {
    const { url } = test.current;
    const { asked, request, view } = await start(door, 'goes_on');
    view.close();
    await aGraceTimePasses(door);
    await request.text('to nobody');
    request.finish();
    expect(await request.outcome).toBe('completed');
    const seen = await readAll(door.follow(url, { generationId: asked.generationId }));
    expect(textOf(seen)).toBe('to nobody');
    expect(terminalOf(seen).type).toBe('done');
  });
});

async function start(door: Door, config = 'default', url = test.current.url) {
  const { upstream } = test.current;
  upstream.enqueue({ kind: 'manual' });
  const asked = { ...ask('hi', { config }), generationId: crypto.randomUUID() };
  const view = door.stream(url, asked);
  const request = await upstream.nextRequest();
  await view.until((event) => event.type === 'start');
  return { asked, request, view };
}

/** Resolves when another generation, which lost its viewer after this call, has been cancelled for that. */
async function aGraceTimePasses(door: Door): Promise<void> {
  const { request, view } = await start(door);
  view.close();
  expect(await request.outcome).toBe('client_closed');
}
