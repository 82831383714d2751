/** Prints one answer while it arrives: its text (or each event as a line of JSON) to stdout, everything else to stderr. */
import { styleText } from 'node:util';
import { escapeLineEnds } from '../json/json-line.ts';
import { isTerminal, type LlmEvent, type TerminalEvent } from '../protocol.ts';
import { exitCodeOf, exitCodes, type ExitCode } from './exit-codes.ts';
import { withoutControls, type Host } from './host.ts';
import type { Interrupt } from './interrupt.ts';
import type { RemoteOptions, ShowOptions } from './options.ts';
import { cutInWords, failureInWords } from './words.ts';

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
  unwanted.addEventListener('abort', stop, { once: true });
  if (unwanted.aborted) stop();
  try {
    for await (const event of answer.view(leave.signal)) {
      await screen.put(event);
      if (!isTerminal(event)) continue;
      await screen.end();
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
  }
  return { exitCode: endedBy(), text: screen.text };
}

class Screen {
  text = '';
  simulated = false;
  readonly #host: Host;
  readonly #json: boolean;
  #midLine = false;

  constructor(host: Host, { json = false }: ShowOptions) {
    this.#host = host;
    this.#json = json;
  }

  async put(event: LlmEvent): Promise<void> {
    const { stdout, stderr } = this.#host;
    if (event.type === 'text') this.text += event.text;
    if (event.type === 'start') this.simulated = event.simulated;
    if (this.#json) return stdout.write(`${escapeLineEnds(JSON.stringify(event))}\n`);
    if (event.type === 'start' && event.simulated) this.#host.note('(simulated)');
    if (event.type === 'thinking') stderr.write(styleText('dim', withoutControls(event.text), { stream: stderr }));
    if (event.type !== 'text' || event.text === '') return;
    this.#midLine = !event.text.endsWith('\n');
    await stdout.write(stdout.isTerminal ? withoutControls(event.text) : event.text);
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
  const cut = terminal.type === 'done' ? cutInWords(terminal) : undefined;
  if (cut !== undefined) host.note(cut);
  if (options.usage || options.interrupted) host.note(usageLine(terminal, options));
}

function usageLine({ type, model, usage, costUsd, timing }: TerminalEvent, { simulated }: Reporting): string {
  const cached = usage.cacheReadInputTokens + usage.cacheCreationInputTokens;
  return [
    `${type}: ${model}`,
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
