/** Reads the prompt: the words of the command line, and the text on stdin. */
import { once } from 'node:events';
import { fstatSync } from 'node:fs';
import type { ReadStream } from 'node:tty';
import { UsageError } from './exit-codes.ts';
import type { Host } from './host.ts';

export interface StdinOptions {
  /**
   * True: stdin is read to its end, whatever it is. False: it is not read. Absent: a file is read, a pipe or socket is read if it
   * delivers something in time, and a terminal is not read.
   */
  readonly stdin?: boolean;
}

const pipedBytesMax = 10 * 1024 * 1024;

/**
 * How long a pipe may be silent where there are words, which are a prompt by themselves. A pipe to which nobody will ever write
 * (under CI runners, ssh, editors) looks the same as one whose writer is slow.
 */
const silenceMs = 5_000;
const patience = `Waiting ${silenceMs / 1_000} s for stdin; --no-stdin avoids the wait, --stdin waits to its end`;
/** After this wait a note says that stdin is being read, for somebody who did not mean to pipe anything. */
const hintAfterMs = 1_000;

/**
 * The prompt: the text on stdin, a blank line, the words. A single `-` in place of words stands for stdin alone. Settles early
 * when the signal aborts.
 *
 * @throws UsageError if there is no text at all, or too much on stdin.
 */
export async function readPrompt(
  words: readonly string[],
  host: Host,
  signal: AbortSignal,
  options: StdinOptions = {},
): Promise<string> {
  const spoken = words.length === 1 && words[0] === '-' ? '' : words.join(' ');
  const insists = options.stdin ?? (words.length > 0 && spoken === '' ? true : undefined);
  const piped = (insists ?? isPiped(host.stdin)) ? await readPiped(host, signal, insists ? '' : spoken) : '';
  const prompt = [piped.trimEnd(), spoken].filter((part) => part !== '').join('\n\n');
  if (prompt.trim() === '' && !signal.aborted) throw new UsageError('expected a prompt, as words or on stdin');
  return prompt;
}

/** Whether stdin is a file, a pipe or a socket, and not a terminal or /dev/null. */
function isPiped({ isTTY }: ReadStream): boolean {
  if (isTTY) return false;
  const stats = fstatSync(0);
  return stats.isFile() || stats.isFIFO() || stats.isSocket();
}

/** @param spoken The words. Without words stdin is the whole prompt, and is waited for without a limit. */
async function readPiped(host: Host, signal: AbortSignal, spoken: string): Promise<string> {
  const { stdin, note } = host;
  const wait = spoken === '' ? 'Waiting for stdin; Ctrl-D ends it' : patience;
  const hint = setTimeout(() => note(wait), hintAfterMs);
  const leave = () => stdin.destroy();
  signal.addEventListener('abort', leave, { once: true });
  try {
    if (spoken !== '' && !(await delivers(stdin, signal))) {
      leave();
      if (!signal.aborted) note('stdin has delivered nothing: asking without it');
      return '';
    }
    return await readToEnd(stdin, () => clearTimeout(hint));
  } catch (error) {
    if (signal.aborted) return '';
    throw error;
  } finally {
    clearTimeout(hint);
    signal.removeEventListener('abort', leave);
  }
}

/** Whether the pipe delivers its first byte, or its end, before it has been silent for too long. */
async function delivers(stdin: ReadStream, signal: AbortSignal): Promise<boolean> {
  const silence = AbortSignal.timeout(silenceMs);
  try {
    await once(stdin, 'readable', { signal: AbortSignal.any([silence, signal]) });
    return true;
  } catch (error) {
    if (silence.aborted || signal.aborted) return false;
    throw error;
  }
}

async function readToEnd(stdin: ReadStream, onFirst: () => void): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin as AsyncIterable<Buffer>) {
    onFirst();
    bytes += chunk.length;
    if (bytes > pipedBytesMax) throw new UsageError(`expected at most ${pipedBytesMax} bytes on stdin, found more`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
