/** Prints one answer while it arrives: its text (or each event as a line of JSON) to stdout, everything else to stderr. */
import { styleText } from 'node:util';
import { escapeLineEnds } from '../json/json-line.ts';
import { isTerminal, type LlmEvent, type TerminalEvent, type CallAnswer } from '../protocol.ts';
import { exitCodeOf, exitCodes, type ExitCode } from './exit-codes.ts';
import { withoutControls, type Host } from './host.ts';
import type { Interrupt } from './interrupt.ts';
import type { RemoteOptions, ShowOptions } from './options.ts';
import { Questions } from './questions.ts';
import { callInWords, resultInWords } from './tool-words.ts';
import { cutInWords, failureInWords, limitInWords } from './words.ts';

export interface Shown {
  readonly exitCode: ExitCode;
  /** The text of the answer, as far as it arrived. */
  readonly text: string;
  /** Absent where the view was closed before the answer ended. */
  readonly terminal?: TerminalEvent;
}

/** An answer to print, and how to stop it. */
export interface Answer {
  /** Follows the answer until the signal aborts. */
  view(signal: AbortSignal): AsyncIterable<LlmEvent>;
  /** Asks for its end; its terminal event follows. Absent: to stop, it is enough to close the view. */
  readonly cancel?: () => Promise<unknown>;
  /** Answers calls that wait for a client. Absent: somebody else answers them. */
  readonly resolve?: (answers: CallAnswer[]) => Promise<unknown>;
}

/**
 * Prints an answer to its end. Ctrl-C stops it, and so does the reader of stdout by leaving.
 *
 * @throws what the view throws, unless the answer was being stopped.
 */
export async function show(
  answer: Answer,
  interrupt: Interrupt,
  host: Host,
  options: ShowOptions & RemoteOptions,
): Promise<Shown> {
  const unwanted = AbortSignal.any([interrupt.signal, host.stdout.gone]);
  const leave = new AbortController();
  const stop = () => {
    if (answer.cancel) answer.cancel().catch(() => leave.abort());
    else leave.abort();
  };
  const endedBy = () => (interrupt.signal.aborted ? exitCodes.interrupted : exitCodes.success);
  const screen = new Screen(host, options);
  const questions = answer.resolve && new Questions(host, answer.resolve);
  unwanted.addEventListener('abort', stop, { once: true });
  if (unwanted.aborted) stop();
  try {
    for await (const event of answer.view(leave.signal)) {
      await screen.put(event, questions?.asks(event));
      questions?.put(event);
      if (!isTerminal(event)) continue;
      await screen.end();
      await questions?.close();
      if (!host.stdout.gone.aborted) {
        report(event, host, { ...options, interrupted: interrupt.signal.aborted, simulated: screen.simulated });
      }
      const exitCode = unwanted.aborted ? endedBy() : exitCodeOfTerminal(event);
      return { exitCode, text: screen.text, terminal: event };
    }
  } catch (error) {
    if (!unwanted.aborted) throw error;
  } finally {
    unwanted.removeEventListener('abort', stop);
    await screen.end();
    await questions?.close();
  }
  return { exitCode: endedBy(), text: screen.text };
}

class Screen {
  text = '';
  simulated = false;
  readonly #host: Host;
  readonly #json: boolean;
  #midLine = false;
  #midThought = false;
  #newStep = false;

  constructor(host: Host, { json = false }: ShowOptions) {
    this.#host = host;
    this.#json = json;
  }

  /** @param isAsked Whether a question to the person says the same. */
  async put(event: LlmEvent, isAsked = false): Promise<void> {
    if (event.type === 'start') this.simulated = event.simulated;
    if (event.type === 'step') this.#newStep = event.stopReason === 'tool_use';
    const gap = event.type === 'text' ? this.#gapBefore(event.text) : '';
    if (event.type === 'text') this.text += gap + event.text;
    if (this.#json) return this.#host.stdout.write(`${escapeLineEnds(JSON.stringify(event))}\n`);
    if (event.type === 'start' && event.simulated) this.#host.note('(simulated)');
    if (event.type === 'thinking') return this.#think(event.text);
    this.#endThought();
    if (event.type === 'tool_call') await this.#noteTool(isAsked ? undefined : callInWords(event));
    if (event.type === 'tool_result') await this.#noteTool(resultInWords(event));
    if (event.type === 'text' && event.text !== '') await this.#print(gap, event.text);
  }

  /** The texts of two steps are paragraphs: the model writes each without the line ends between them. */
  #gapBefore(text: string): string {
    if (text === '' || !this.#newStep) return '';
    this.#newStep = false;
    return this.text === '' ? '' : '\n\n';
  }

  async #print(gap: string, text: string): Promise<void> {
    const { stdout } = this.#host;
    // On a terminal the lines about the tools stand in the gap. A hidden tool has none.
    const before = stdout.isTerminal ? (this.#midLine ? gap : '') : gap;
    this.#midLine = !text.endsWith('\n');
    await stdout.write(before + (stdout.isTerminal ? withoutControls(text) : text));
  }

  #think(text: string): void {
    this.#dim(text);
    if (text !== '') this.#midThought = !text.endsWith('\n');
  }

  #endThought(): void {
    if (this.#midThought) this.#host.stderr.write('\n');
    this.#midThought = false;
  }

  async #noteTool(line: string | undefined): Promise<void> {
    // Where the answer goes to a file or a pipe, the line end would be part of it.
    if (this.#host.stdout.isTerminal) await this.end();
    if (line !== undefined) this.#dim(`${line}\n`);
  }

  #dim(text: string): void {
    const { stderr } = this.#host;
    stderr.write(styleText('dim', withoutControls(text), { stream: stderr }));
  }

  /** Ends the last line of the answer, where the answer doesn't. */
  async end(): Promise<void> {
    if (this.#midLine) await this.#host.stdout.write('\n');
    this.#midLine = false;
  }
}

interface Reporting extends ShowOptions, RemoteOptions {
  readonly interrupted: boolean;
  readonly simulated: boolean;
}

function report(terminal: TerminalEvent, host: Host, options: Reporting): void {
  if (terminal.type === 'error') host.note(`error: ${failureInWords(terminal, options)}`);
  if (terminal.type === 'cancelled' && !options.interrupted) host.note(`cancelled: ${terminal.reason}`);
  if (terminal.type === 'done') {
    for (const line of [cutInWords(terminal), limitInWords(terminal)]) if (line !== undefined) host.note(line);
  }
  if (options.usage || options.interrupted) host.note(usageLine(terminal, options));
}

function usageLine(terminal: TerminalEvent, { simulated }: Reporting): string {
  const { type, model, usage, costUsd, timing } = terminal;
  const cached = usage.cacheReadInputTokens + usage.cacheCreationInputTokens;
  return [
    `${type}: ${model}`,
    ...(terminal.type === 'done' && terminal.steps > 1 ? [`${terminal.steps} steps`] : []),
    `${usage.inputTokens} tokens in${cached === 0 ? '' : ` and ${cached} by the cache`}`,
    `${usage.outputTokens} out${usage.estimated ? ' (estimated)' : ''}`,
    simulated ? 'simulated, so free' : costUsd === null ? 'cost unknown' : `$${Number(costUsd.toPrecision(3))}`,
    ...(timing.firstTokenMs === null ? [] : [`first token ${seconds(timing.firstTokenMs)}`]),
    seconds(timing.totalMs),
  ].join(', ');
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function exitCodeOfTerminal(terminal: TerminalEvent): ExitCode {
  if (terminal.type === 'error') return exitCodeOf[terminal.code];
  return terminal.type === 'done' && cutInWords(terminal) === undefined ? exitCodes.success : exitCodes.failure;
}
