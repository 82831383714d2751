/** Replies of an upstream whose model calls tools, and what its requests hold. */
import { z } from 'zod';
import type { Reply, ScriptedBlock, SimulatorRequest } from '../../src/simulator.ts';
import { plainConfig } from './service.ts';

/** A config with these tools. */
export function withTools(tools: Readonly<Record<string, unknown>>, keys: object = {}): object {
  return { ...plainConfig, tools, ...keys };
}

export const city = z.object({ city: z.string() });

/** The call of a tool, as a block. */
export function call(id: string, name: string, input: unknown): ScriptedBlock {
  return { type: 'tool_use', id, name, input };
}

export function text(words: string): ScriptedBlock {
  return { type: 'text', text: words };
}

/** A message of these blocks. */
export function message(...blocks: readonly ScriptedBlock[]): Reply {
  return { kind: 'blocks', blocks };
}

/** The step that a request is for, counted from 1. */
export function stepOf({ body }: Pick<SimulatorRequest, 'body'>): number {
  return body.messages.filter(({ role }) => role === 'assistant').length + 1;
}

/** Replies to the steps of each generation in turn, however many run at once. The last one is the reply to all later steps. */
export function bySteps(...steps: readonly ((request: SimulatorRequest) => Reply)[]) {
  return (request: SimulatorRequest): Reply => (steps[stepOf(request) - 1] ?? steps.at(-1)!)(request);
}

/** The results in the last message of a request, by the ids of their calls. */
export function resultsIn({ body }: Pick<SimulatorRequest, 'body'>): Record<string, unknown> {
  const { content } = body.messages.at(-1)!;
  if (typeof content === 'string') return {};
  const blocks = content as unknown as readonly Record<string, unknown>[];
  return Object.fromEntries(
    blocks.map(({ tool_use_id: id, content: said, is_error: failed }) => [
      String(id),
      failed === true ? { error: said } : said,
    ]),
  );
}
