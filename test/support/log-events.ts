/** Events, and what a reader has seen of them, for tests of a stream log. */
import { expect } from 'vitest';
import { parseEventId, type LlmEvent, type StartEvent, type TerminalEvent } from '../../src/protocol.ts';
import type {
  GenerationKey,
  GenerationRecord,
  LogBatch,
  Producer,
  StreamLog,
  StreamLogs,
} from '../../src/stream-log/stream-log.ts';

export const key = (caller = 'alice'): GenerationKey => ({ caller, generationId: crypto.randomUUID() });
export const text = (piece: string, index = 0): LlmEvent => ({ type: 'text', index, text: piece });
export const thinking = (piece: string, index = 0): LlmEvent => ({ type: 'thinking', index, text: piece });
export const block = (index: number): LlmEvent => ({
  type: 'block',
  index,
  block: { type: 'tool_use', input: { index } },
});

const account = {
  usage: {
    inputTokens: 1,
    outputTokens: 2,
    cacheReadInputTokens: 0,
    cacheCreationInputTokens: 0,
    estimated: false,
    raw: null,
  },
  costUsd: null,
  timing: { firstTokenMs: 1, totalMs: 2 },
  config: 'default',
  model: 'claude-sonnet-5-5',
};
export const done: TerminalEvent = { type: 'done', stopReason: 'end_turn', steps: 1, ...account };
export const cancelled: TerminalEvent = { type: 'cancelled', reason: 'requested', ...account };

export const nobody: Producer = { cancel() {}, viewerCame() {}, viewerLeft() {} };

/** A key, and the label of the generation if it has one. */
type Labelled = GenerationKey & Pick<GenerationRecord, 'thread'>;

export function recordOf(of: Labelled): GenerationRecord {
  return { ...of, config: 'default', requestHash: 'ab'.repeat(32), startedAt: '2026-11-23T00:00:00.000Z' };
}

export function startOf({ generationId, thread }: Labelled): StartEvent {
  return {
    type: 'start',
    generationId,
    config: 'default',
    model: 'claude-sonnet-5-5',
    simulated: false,
    startedAt: '2026-11-23T00:00:00.000Z',
    ...(thread === undefined ? {} : { thread }),
    protocol: 1,
  };
}

export function open(logs: StreamLogs, of: Labelled, producer = nobody) {
  return logs.open(recordOf(of), startOf(of), producer);
}

export async function readAll(
  log: StreamLog,
  after = -1,
  signal: AbortSignal = new AbortController().signal,
): Promise<LogBatch[]> {
  const reader = await log.read(after, signal);
  const batches: LogBatch[] = [];
  for (let next = await reader.next(); !next.done; next = await reader.next()) batches.push(next.value);
  return batches;
}

const offsetOf = (id: string): number => parseEventId(id)!.offset;

/** Offsets and events. */
export const plain = (batches: readonly LogBatch[]) =>
  batches.flat().map(({ id, json }) => [offsetOf(id), JSON.parse(json)] as const);

/** All of the log after the cursor, in order, once, merged as it may. `all` are its events after `start`. */
export function expectExactly(seen: readonly LogBatch[], after: number, all: readonly LlmEvent[]): void {
  const events: readonly (LlmEvent | undefined)[] = [undefined, ...all];
  let next = after + 1;
  for (const [offset, event] of plain(seen)) {
    const covered = events.slice(next, offset + 1);
    expect(covered.length).toBeGreaterThan(0);
    next = offset + 1;
    const [first] = covered;
    if (first && (first.type === 'text' || first.type === 'thinking')) {
      const joined = covered.map((each) => (each && 'text' in each ? each.text : '')).join('');
      expect(event).toEqual({ ...first, text: joined });
      for (const each of covered) expect(each).toMatchObject({ type: first.type, index: first.index });
    } else {
      expect(covered).toHaveLength(1);
      if (first) expect(event).toEqual(first);
      else expect(event).toMatchObject({ type: 'start' });
    }
  }
  expect(next).toBe(events.length);
}
