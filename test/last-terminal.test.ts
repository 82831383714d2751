/** A generation ends with a terminal event and keeps its account, also if parts of that event can't be stored. */
import { expect, it } from 'vitest';
import { HeldBytes } from '../src/access/held-bytes.ts';
import type { LLMService } from '../src/upstream/llm-service.ts';
import type { LlmEvent, TerminalEvent } from '../src/protocol.ts';
import { RunningGeneration } from '../src/generations/running-generation.ts';
import { MemoryStreamLogs } from '../src/stream-log/memory.ts';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { hello, testConfig } from './support/llm-stream.ts';

finishesCleanly();

const logsLimits = {
  logBytesMax: 10_000,
  logsBytesMax: 100_000,
  logsBytesPerCallerMax: 100_000,
  logRetentionMs: 60_000,
  tombstonesMax: 10,
  tombstoneMs: 60_000,
  barsMax: 10,
  barsPerCallerMax: 10,
  viewerBatchBytesMax: 1_000,
};
const tokens = { inputTokens: 8, outputTokens: 5, cacheReadInputTokens: 0, cacheCreationInputTokens: 0 };

/** Ends as an upstream that sends this and nothing else. */
async function endOf(last: LlmEvent): Promise<{ events: LlmEvent[]; terminal: TerminalEvent | undefined }> {
  await using logs = new MemoryStreamLogs(logsLimits);
  const llm = {
    isSimulated: () => true,
    pipe: async (_request, _signal, sink) => sink([last]),
  } satisfies Pick<LLMService, 'pipe' | 'isSimulated'> as unknown as LLMService;
  const held = new HeldBytes({ heldBytesMax: 1e6, heldBytesPerCallerMax: 1e6 });
  const telemetry = new Telemetry({ logLevel: 'silent', logContent: false });
  const key = { caller: 'ada', generationId: crypto.randomUUID(), requestHash: 'x' };
  const admission = { admitWaiting: () => ({ [Symbol.dispose]() {} }) };
  const parts = { logs, llm, held, logBytesMax: 10_000, toolResultBytesMax: 10_000, admission, telemetry };
  const running = new RunningGeneration(parts, key, testConfig(), [...hello], {});
  const log = await running.open();
  await running.settled;
  const events: LlmEvent[] = [];
  const reader = await log.read(-1, new AbortController().signal);
  await reader.pipe((batch) => {
    for (const event of batch) events.push(event.copy());
  });
  expect(held.total).toBe(0);
  return { events, terminal: (await log.status()).terminal };
}

const loop: unknown[] = [];
loop.push(loop);
const unstorable: Readonly<Record<string, unknown>> = {
  'a list within itself': loop,
  'a number without JSON': 1n,
  'a toJSON that throws': {
    toJSON() {
      throw new Error('no');
    },
  },
};

it.each(Object.keys(unstorable))('where usage is %s', async (what) => {
  const { events, terminal } = await endOf({
    type: 'done',
    stopReason: 'end_turn',
    steps: 1,
    usage: { ...tokens, estimated: false, raw: unstorable[what] },
    costUsd: 0.5,
    timing: { firstTokenMs: 1, totalMs: 2 },
    config: 'test',
    model: 'm',
  });
  expect(terminal).toMatchObject({ type: 'error', code: 'internal', usage: { ...tokens, raw: null }, costUsd: 0.5 });
  expect(events.map(({ type }) => type)).toEqual(['start', 'error']);
});

it('where a block is', async () => {
  const { events, terminal } = await endOf({ type: 'block', index: 0, block: { type: 'new', loop } });
  expect(terminal).toMatchObject({ type: 'error', code: 'internal' });
  expect(events.map(({ type }) => type)).toEqual(['start', 'error']);
});
