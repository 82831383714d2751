/**
 * Hands each ended generation to whoever embeds the service. Knows nothing of what they do with it. Viewers never wait for
 * it, and neither its failure nor its slowness harms a generation.
 */
import { within } from '../flow/within.ts';
import type { Caller } from '../caller.ts';
import { isTerminal, type LlmEvent, type Message, type TerminalEvent } from '../protocol.ts';
import type { StreamLog } from '../stream-log/stream-log.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';

/** A generation that is over: what was asked, and what was answered. */
export interface EndedGeneration {
  /** Who started it. */
  readonly caller: Caller;
  /** A UUID in lower case. */
  readonly generationId: string;
  /** The config that was asked for; `terminal.config` is the one that answered. */
  readonly config: string;
  /** The conversation that the model was asked with. */
  readonly messages: readonly Message[];
  /** The variables that filled the config's prompt; empty if the request had none. */
  readonly variables: Readonly<Record<string, string>>;
  /** ISO 8601. */
  readonly startedAt: string;
  /** The label with which the generation was started; absent if it was started without one. */
  readonly thread?: string | undefined;
  /** The answer's text, all blocks joined. */
  readonly text: string;
  /** From `start` to the terminal one, text merged: what a viewer gets who attaches after the end. */
  readonly events: readonly LlmEvent[];
  /** The last of `events`: how the generation ended, with its usage and cost. */
  readonly terminal: TerminalEvent;
}

/**
 * Called once for each generation that this process has run, however it ended, after its terminal event is in the log; where
 * the logs are out of reach, when the service has given up on writing it. If
 * it throws or rejects, that is logged and has no other effect. Until it settles, for at most 10 s, the generation keeps its
 * place among those that may run at once, and a shutdown waits for it.
 */
export type OnGenerationEnd = (ended: EndedGeneration) => void | Promise<void>;

/** What the pump knows of a generation that has ended; its log has everything else. */
type EndFacts = Pick<EndedGeneration, 'caller' | 'generationId' | 'messages' | 'variables' | 'terminal'>;

/** How long a hook may take before the service stops waiting for it. */
const endHookMs = 10_000;

/** Calls the hook. Settles with it, or after `endHookMs`. Never rejects. */
export async function runEndHook(
  onGenerationEnd: OnGenerationEnd,
  log: StreamLog,
  facts: EndFacts,
  telemetry: Telemetry,
): Promise<void> {
  const tooLong = () => new Error(`onGenerationEnd took more than ${endHookMs} ms`);
  try {
    await within(endHookMs, callHook(onGenerationEnd, log, facts), tooLong);
  } catch (error) {
    telemetry.internalError('onGenerationEnd', error);
  }
}

async function callHook(onGenerationEnd: OnGenerationEnd, log: StreamLog, facts: EndFacts): Promise<void> {
  const { config, startedAt, thread } = log.record;
  const { text, events } = log.produced();
  // Whoever wrote the end in place of this process had to guess what the answer cost, and perhaps nobody has written one yet.
  const all = [...events.filter((event) => !isTerminal(event)), facts.terminal];
  const label = thread === undefined ? {} : { thread };
  await onGenerationEnd({ ...facts, config, startedAt, ...label, text, events: all });
}
