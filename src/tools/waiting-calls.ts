/**
 * The calls of one generation that wait for a client, or did: for a result, or for an approval. The first answer to a call wins.
 * An answer to several calls is judged as a whole: either all of it is taken, or nothing.
 */
import { LlmError } from '../errors.ts';
import type { CallAnswer, InputIssue } from '../protocol.ts';
import { failed, resultOf, type CallResult } from './call-result.ts';
import type { ConfigTool } from './tool-set.ts';

/** What a call waits for. */
export type Awaited = 'result' | 'approval';

/** The result, or that the call is approved; undefined where none has come in time. */
export type ClientAnswer = CallResult | 'approved' | undefined;

interface Asked {
  readonly awaits: Awaited;
  readonly tool: ConfigTool;
  /** Undefined once it was answered, or is answered no more. */
  settle: ((answer: ClientAnswer) => void) | undefined;
}

export class WaitingCalls {
  readonly #resultBytesMax: number;
  readonly #asked = new Map<string, Asked>();

  /** @param resultBytesMax Bytes that one result may have as JSON. */
  constructor(resultBytesMax: number) {
    this.#resultBytesMax = resultBytesMax;
  }

  /** Settles with the answer to a call; with undefined when `close` ends the wait. */
  ask(id: string, tool: ConfigTool, awaits: Awaited): Promise<ClientAnswer> {
    return new Promise((settle: Asked['settle']) => void this.#asked.set(id, { awaits, tool, settle }));
  }

  /** Ends all waits. */
  close(): void {
    for (const asked of this.#asked.values()) {
      asked.settle?.(undefined);
      asked.settle = undefined;
    }
  }

  /**
   * Takes answers, and returns how many.
   *
   * @throws LlmError `invalid_input` where an id never was a waiting call, or an answer doesn't fit its call; `conflict` where a
   *   call was answered before, or is answered no more; `too_large`. Nothing is taken then.
   */
  async take(answers: readonly CallAnswer[]): Promise<number> {
    const misfits = answers.flatMap((answer, at) => this.#misfit(answer, at, answers));
    if (misfits.length > 0) throw LlmError.invalidInput(misfits);
    this.#refuseAnswered(answers);
    const judged = await Promise.all(answers.map((answer, at) => this.#judge(answer, at)));
    const issues = judged.flatMap((each) => (isIssues(each) ? each : []));
    if (issues.length > 0) throw LlmError.invalidInput(issues);
    // Somebody else may have answered while the outputs were judged.
    this.#refuseAnswered(answers);
    answers.forEach(({ id }, at) => {
      const asked = this.#asked.get(id)!;
      asked.settle!(judged[at] as CallResult | 'approved');
      asked.settle = undefined;
    });
    return answers.length;
  }

  #misfit(answer: CallAnswer, at: number, answers: readonly CallAnswer[]): InputIssue[] {
    const asked = this.#asked.get(answer.id);
    const issue = (path: string, message: string) => [{ path: `results[${at}]${path}`, message }];
    if (!asked) return issue('.id', 'expected the id of a call of this generation that waits for an answer');
    if (answers.findIndex(({ id }) => id === answer.id) < at) return issue('.id', 'expected one answer to each call');
    if (asked.awaits === 'approval' && !('approved' in answer)) {
      return issue('', 'expected {id, approved}, since the call waits for an approval');
    }
    if (asked.awaits === 'result' && 'approved' in answer) {
      return issue('', 'expected {id, output} or {id, error}, since the call waits for a result');
    }
    return [];
  }

  #refuseAnswered(answers: readonly CallAnswer[]): void {
    const issues = answers.flatMap(({ id }, at) =>
      this.#asked.get(id)!.settle ? [] : [{ path: `results[${at}].id`, message: 'has its answer already' }],
    );
    if (issues.length > 0) throw new LlmError('conflict', 'A call has its answer already', { issues });
  }

  async #judge(answer: CallAnswer, at: number): Promise<CallResult | 'approved' | InputIssue[]> {
    if ('approved' in answer)
      return answer.approved ? 'approved' : failed('denied', answer.reason ?? 'The call was denied');
    if ('error' in answer) return failed('failed', answer.error);
    const { output: schema } = this.#asked.get(answer.id)!.tool;
    const judged = schema ? await schema.validate(answer.output) : { ok: true as const, value: answer.output };
    if (!judged.ok) {
      return judged.issues.map(({ path, message }) => ({ path: below(`results[${at}].output`, path), message }));
    }
    const result = resultOf(judged.value, this.#resultBytesMax);
    if (!result.ok) throw new LlmError('too_large', result.message);
    return result;
  }
}

function below(parent: string, path: string): string {
  if (path === '') return parent;
  return path.startsWith('[') ? parent + path : `${parent}.${path}`;
}

function isIssues(judged: CallResult | 'approved' | InputIssue[]): judged is InputIssue[] {
  return Array.isArray(judged);
}
