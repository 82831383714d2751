/**
 * Answers the calls that wait for somebody: those that need an approval, and those of tools that the client executes. At a
 * terminal it asks, on stderr, one call after the other. Without a terminal there is nobody to ask: it refuses each call at
 * once, in words that the model reads too.
 */
import { createInterface } from 'node:readline';
import type { LlmEvent, CallAnswer, ToolCallEvent } from '../protocol.ts';
import { isCoded } from './exit-codes.ts';
import type { Host } from './host.ts';
import { callInWords } from './tool-words.ts';

export class Questions {
  readonly #host: Host;
  readonly #resolve: (answers: CallAnswer[]) => Promise<unknown>;
  /** The calls that have no result yet, each with what ends its question. */
  readonly #open = new Map<string, AbortController>();
  #last = Promise.resolve();

  /** @param resolve Hands answers of calls to the service. */
  constructor(host: Host, resolve: (answers: CallAnswer[]) => Promise<unknown>) {
    this.#host = host;
    this.#resolve = resolve;
  }

  /** Whether the person reads of this event in a question. */
  asks(event: LlmEvent): boolean {
    return this.#isAtTerminal && event.type === 'tool_call' && waits(event);
  }

  /** Takes every event of the answer, and returns at once. */
  put(event: LlmEvent): void {
    // A result without an answer from here: another client was faster, or the time is up.
    if (event.type === 'tool_result') this.#open.get(event.id)?.abort();
    if (event.type !== 'tool_call' || !waits(event)) return;
    const settled = new AbortController();
    this.#open.set(event.id, settled);
    this.#last = this.#last.then(async () => {
      await this.#settle(event, settled.signal);
      this.#open.delete(event.id);
    });
  }

  /** Withdraws the questions that are open. */
  async close(): Promise<void> {
    for (const settled of this.#open.values()) settled.abort();
    await this.#last;
  }

  async #settle(call: ToolCallEvent, settled: AbortSignal): Promise<void> {
    while (!settled.aborted) {
      const answer = this.#isAtTerminal ? await this.#ask(call, settled) : this.#refusal(call);
      if (answer === undefined) return;
      try {
        await this.#resolve([answer]);
        return;
      } catch (error) {
        const code = isCoded(error) ? error.code : undefined;
        // Another client has answered, or the generation has ended: its events say so.
        if (code === 'conflict' || code === 'generation_not_found') return;
        this.#host.note(`${call.name}: ${(error as Error).message}`);
        // An output that doesn't fit the tool's schema can be typed again.
        if (code !== 'invalid_input' || !('output' in answer)) return;
      }
    }
  }

  get #isAtTerminal(): boolean {
    return this.#host.stdin.isTTY && this.#host.stderr.isTTY;
  }

  #refusal({ id, name, approval }: ToolCallEvent): CallAnswer {
    if (approval) {
      this.#host.note(`${name} needs an approval, and there is no terminal to ask at: denied`);
      return { id, approved: false, reason: 'Nobody is at a terminal to approve this call.' };
    }
    this.#host.note(`${name} needs an answer, and there is no terminal to ask at: refused`);
    return { id, error: 'Nobody is at a terminal to answer this call.' };
  }

  /** undefined where the question was withdrawn. */
  async #ask(call: ToolCallEvent, settled: AbortSignal): Promise<CallAnswer | undefined> {
    const { id, approval } = call;
    const question = approval ? 'Allow it? [y/N] ' : 'Its answer, as JSON or text: ';
    const line = await this.#readLine(`${callInWords(call)}\n${question}`, settled);
    if (settled.aborted) return undefined;
    if (approval) return isYes(line) ? { id, approved: true } : { id, approved: false, reason: 'The user said no.' };
    return line.trim() === '' ? { id, error: 'The user gave no answer.' } : { id, output: valueOf(line) };
  }

  /** A line that was typed, empty at the end of stdin and where the signal aborts. The terminal edits the line itself. */
  #readLine(question: string, signal: AbortSignal): Promise<string> {
    const { stdin, stderr } = this.#host;
    return new Promise((resolve) => {
      const lines = createInterface({ input: stdin, terminal: false });
      const leave = () => {
        stderr.write('\n');
        lines.close();
      };
      stderr.write(question);
      signal.addEventListener('abort', leave, { once: true });
      lines.once('line', (line) => {
        resolve(line);
        lines.close();
      });
      lines.once('close', () => {
        signal.removeEventListener('abort', leave);
        resolve('');
      });
    });
  }
}

/** Whether a call waits for a client. */
function waits({ by, approval }: ToolCallEvent): boolean {
  return by === 'client' || approval === true;
}

function isYes(line: string): boolean {
  return /^\s*y(es)?\s*$/i.test(line);
}

function valueOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return line.trim();
  }
}
