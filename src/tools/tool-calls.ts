/**
 * Answers the calls of one generation. A call is executed at most once, after its `tool_call` is in the log and the model's message
 * is whole. Its `tool_result` is in the log before the model's next message begins. Knows nothing of logs, doors or upstream.
 */
import type { Caller } from '../caller.ts';
import type { CallAnswer, ContentBlock, ToolCallEvent } from '../protocol.ts';
import type { GenerationTrace } from '../telemetry/generation-trace.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { BetweenSteps, ToolAnswers } from '../upstream/steps.ts';
import { blockOf, eventOf, failed, resultOf, type CallResult } from './call-result.ts';
import { IdempotencyKeys } from './idempotency.ts';
import { inTime } from './in-time.ts';
import type { ToolContext } from './tool.ts';
import type { ConfigTool, ToolSet, ToolUse } from './tool-set.ts';
import { WaitingCalls, type ClientAnswer } from './waiting-calls.ts';

/** Calls of one message that are executed; the others fail. */
const callsPerStepMax = 100;

export interface ToolCallsOptions {
  readonly tools: ToolSet;
  readonly caller: Caller;
  readonly generationId: string;
  readonly variables: Readonly<Record<string, string>>;
  /** The name of the config, for the log. */
  readonly config: string;
  /** How long a call waits for a client; 0 for not at all. */
  readonly waitMs: number;
  /** Bytes that one result may have as JSON. */
  readonly resultBytesMax: number;
  /** Settles when all events so far are in the log for good. Rejects where the log has ended without this process. */
  readonly recorded: () => Promise<void> | undefined;
  /**
   * Takes a place among the generations that wait for a client.
   *
   * @throws LlmError where there is none.
   */
  readonly admitWaiting: () => Disposable;
  readonly telemetry: Pick<Telemetry, 'toolCalled' | 'toolFailed'>;
  /** Makes the spans of calls; undefined where nothing is traced. */
  readonly trace?: GenerationTrace | undefined;
}

/** A call, and what is to be done about it. */
interface Call {
  readonly use: ToolUse;
  /** Undefined where the model has made up its name. */
  readonly tool: ConfigTool | undefined;
  readonly given: Omit<ToolContext, 'signal'>;
  readonly verdict: Verdict;
}

/** A call that is to be executed. */
type Execution = Pick<Call, 'use' | 'given'> & { readonly tool: ConfigTool; readonly input: unknown };

type Verdict =
  | { readonly do: 'execute'; readonly input: unknown }
  | { readonly do: 'ask for approval'; readonly input: unknown }
  | { readonly do: 'ask for a result' }
  | { readonly do: 'report'; readonly result: CallResult };

export class ToolCalls implements ToolAnswers {
  readonly #options: ToolCallsOptions;
  readonly #keys: IdempotencyKeys;
  readonly #waiting: WaitingCalls;
  /** What became of each call, by its id. */
  readonly #results = new Map<string, Promise<CallResult | undefined>>();

  constructor(options: ToolCallsOptions) {
    this.#options = options;
    this.#keys = new IdempotencyKeys(options.caller.name, options.generationId);
    this.#waiting = new WaitingCalls(options.resultBytesMax);
  }

  /** Takes a client's answers to calls that wait, and returns how many. Rejects as `WaitingCalls.take` does. */
  resolve(answers: readonly CallAnswer[]): Promise<number> {
    return this.#waiting.take(answers);
  }

  async answer(uses: readonly ToolUse[], between: BetweenSteps): Promise<readonly ContentBlock[] | undefined> {
    // An id that upstream has used before names a call that was executed, and it isn't executed again.
    const fresh = [...new Map(uses.map((use) => [use.id, use])).values()].filter(({ id }) => !this.#results.has(id));
    const given = fresh.map((use) => this.#givenTo(use));
    const calls = await Promise.all(fresh.map((use, at) => this.#judge(use, given[at]!, at, between.signal)));
    const asked = new Map(calls.flatMap((call) => this.#ask(call)));
    try {
      await between.emit(calls.filter(({ tool }) => tool?.waits).map((call) => this.#callEvent(call)));
      await this.#recorded(between.signal);
    } catch (error) {
      this.#waiting.close();
      throw error;
    }
    const expired = this.#wait([...asked.values()], between);
    for (const call of calls) this.#results.set(call.use.id, this.#settle(call, asked.get(call.use.id), between));
    const results = await Promise.all(uses.map(({ id }) => this.#results.get(id)!));
    if (await expired) return undefined;
    return results.map((result, at) => blockOf(uses[at]!, result!));
  }

  async leave(uses: readonly ToolUse[], { emit }: Pick<BetweenSteps, 'emit'>): Promise<void> {
    const { tools } = this.#options;
    const waiting = uses.filter(({ name }) => tools.get(name)?.waits);
    await emit(waiting.map((use) => this.#callEvent({ use, tool: tools.get(use.name) })));
  }

  /** Waits until the log holds all events so far, unless the signal aborts first: then no call is executed any more. */
  async #recorded(signal: AbortSignal): Promise<void> {
    const recorded = this.#options.recorded();
    if (!recorded) return;
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
      if (signal.aborted) resolve();
      recorded.then(resolve, reject);
    });
  }

  // ------------------------------------------------------------------------------------------------------- judging

  #givenTo({ id: callId, name, input }: ToolUse): Call['given'] {
    const { caller, variables, generationId, trace } = this.#options;
    const idempotencyKey = this.#keys.next(name, input);
    const traceparent = trace?.traceparent;
    return { caller, variables, generationId, callId, idempotencyKey, ...(traceparent && { traceparent }) };
  }

  async #judge(use: ToolUse, given: Call['given'], at: number, signal: AbortSignal): Promise<Call> {
    const tool = this.#options.tools.get(use.name);
    const report = (result: CallResult) => ({ do: 'report' as const, result });
    let verdict: Verdict;
    if (!tool) verdict = report(failed('unknown_tool', 'There is no tool of this name'));
    else if (at >= callsPerStepMax) verdict = report(failed('too_large', `At most ${callsPerStepMax} calls at once`));
    else {
      const judged = await this.#inTime(tool, use, signal, (own) => verdictOn(tool, use, { ...given, signal: own }));
      verdict = 'ok' in judged ? report(judged) : judged;
    }
    return { use, tool, given, verdict };
  }

  #callEvent({ use, tool, verdict }: Pick<Call, 'use' | 'tool'> & { readonly verdict?: Verdict }): ToolCallEvent {
    const { index, id, name, input } = use;
    const approval = verdict?.do === 'ask for approval' ? ({ approval: true } as const) : {};
    const by = tool?.by ?? 'service';
    return { type: 'tool_call', index, id, name: this.#options.tools.shownName(name), input, by, ...approval };
  }

  // ------------------------------------------------------------------------------------------------------- waiting

  #ask({ use, tool, verdict }: Call): [string, Promise<ClientAnswer>][] {
    if (verdict.do === 'ask for approval') return [[use.id, this.#waiting.ask(use.id, tool!, 'approval')]];
    if (verdict.do === 'ask for a result') return [[use.id, this.#waiting.ask(use.id, tool!, 'result')]];
    return [];
  }

  /** Waits for a client, not longer than the config says. Settles with whether the time was up. Never rejects. */
  async #wait(answers: readonly Promise<ClientAnswer>[], { signal, pause, resume }: BetweenSteps): Promise<boolean> {
    if (answers.length === 0) return false;
    const close = () => this.#waiting.close();
    const place = this.#waitingPlace();
    if (!place || signal.aborted) close();
    const clock = setTimeout(close, this.#options.waitMs);
    signal.addEventListener('abort', close, { once: true });
    pause();
    const all = await Promise.all(answers);
    resume();
    clearTimeout(clock);
    signal.removeEventListener('abort', close);
    place?.[Symbol.dispose]();
    return all.includes(undefined) && !signal.aborted;
  }

  /** Undefined where the generation may not wait. It ends then, as if the time was up. */
  #waitingPlace(): Disposable | undefined {
    if (this.#options.waitMs === 0) return undefined;
    try {
      return this.#options.admitWaiting();
    } catch {
      return undefined;
    }
  }

  // ----------------------------------------------------------------------------------------------------- executing

  /** Undefined for a call that a client may still answer, in its next request. */
  async #settle(
    call: Call,
    asked: Promise<ClientAnswer> | undefined,
    { signal, emit }: BetweenSteps,
  ): Promise<CallResult | undefined> {
    const { use, tool } = call;
    const result = await this.#resultOf(call, asked, signal);
    if (result) {
      const { telemetry, config } = this.#options;
      telemetry.toolCalled(config, tool ? use.name : 'unknown', result.ok ? 'ok' : result.code);
    }
    if (result && !tool?.hidden) await emit([eventOf(use, this.#options.tools.shownName(use.name), tool, result)]);
    return result;
  }

  async #resultOf(
    { use, tool, given, verdict }: Call,
    asked: Promise<ClientAnswer> | undefined,
    signal: AbortSignal,
  ): Promise<CallResult | undefined> {
    if (verdict.do === 'report') return verdict.result;
    const answer = asked ? await asked : 'approved';
    if (answer === undefined) {
      if (signal.aborted) return failed('cancelled', 'The call was cancelled');
      return tool!.by === 'client' ? undefined : failed('denied', 'Nobody has approved the call in time');
    }
    if (answer !== 'approved' || !('input' in verdict)) return answer as CallResult;
    return this.#execute({ use, tool: tool!, given, input: verdict.input }, signal);
  }

  async #execute({ use, tool, given, input }: Execution, signal: AbortSignal): Promise<CallResult> {
    const span = this.#options.trace?.tool(use.name, use.id, input);
    const traceparent = span?.traceparent;
    const context = traceparent ? { ...given, traceparent } : given;
    const result = await this.#inTime(tool, use, signal, async (own) => {
      const run = () => tool.execute!(input, { ...context, signal: own });
      const value = await (span ? span.run(run) : run());
      const judged = tool.output ? await tool.output.validate(value) : { ok: true as const, value };
      if (judged.ok) return resultOf(judged.value, this.#options.resultBytesMax);
      this.#report(use, 'invalid_output', { paths: judged.issues.map(({ path }) => path) });
      return failed('invalid_output', 'The tool gave a result that does not fit its schema');
    });
    span?.end(result.ok ? { output: result.value } : { error: result.code });
    return result;
  }

  #inTime<T>(tool: ConfigTool, use: ToolUse, signal: AbortSignal, work: (own: AbortSignal) => Promise<T>) {
    const onThrow = (error: unknown) => {
      const message = toolErrorMessage(error);
      if (message !== undefined) return failed('failed', message);
      this.#report(use, 'failed', { error });
      return failed('failed', 'The tool failed');
    };
    return inTime(work, { timeoutMs: tool.timeoutMs, signal, onThrow });
  }

  #report(
    { name, id }: ToolUse,
    code: 'failed' | 'invalid_output',
    facts: { error?: unknown; paths?: string[] },
  ): void {
    const { telemetry, generationId, config } = this.#options;
    telemetry.toolFailed({ generationId, config, tool: name, callId: id, code, ...facts });
  }
}

/** Judges the input, and asks the tool whether the call needs an approval. Rejects with what the tool throws. */
async function verdictOn(tool: ConfigTool, { input }: ToolUse, context: ToolContext): Promise<Verdict> {
  const judged = tool.input ? await tool.input.validate(input) : { ok: true as const, value: input };
  if (!judged.ok) {
    const issues = judged.issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
    const found = typeof input === 'string' ? 'The input is no valid JSON' : issues.join('; ');
    return { do: 'report', result: failed('invalid_input', found) };
  }
  if (tool.by === 'client') return { do: 'ask for a result' };
  const { approval } = tool;
  const needed = typeof approval === 'function' ? await approval(judged.value, context) : approval;
  return { do: needed ? 'ask for approval' : 'execute', input: judged.value };
}

/** The message of a ToolError; undefined for any other error. A config file may have its own copy of the class. */
function toolErrorMessage(error: unknown): string | undefined {
  try {
    if (!(error instanceof Error) || error.name !== 'ToolError') return undefined;
    const { message } = error as { readonly message: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    // Getters and proxies can throw while they are looked at.
    return undefined;
  }
}
