/** What is said to the model: the words of the command line, and what is piped in. */
import { fstatSync } from 'node:fs';
import type { ReadStream } from 'node:tty';
import { UsageError } from './exit-codes.ts';
import type { Host } from './host.ts';

const pipedBytesMax = 10 * 1024 * 1024;
/** When someone who didn't mean to pipe anything is told what is waited for. */
const hintAfterMs = 2_000;

/**
 * The prompt: what is piped in, a blank line, the words. Settles early when the signal aborts.
 *
 * @throws UsageError if there is neither, or too much.
 */
export async function readPrompt(words: readonly string[], host: Host, signal: AbortSignal): Promise<string> {
  const piped = isPiped(host.stdin) ? await readPiped(host, signal) : '';
  const prompt = [piped.trimEnd(), words.join(' ')].filter((part) => part !== '').join('\n\n');
  if (prompt === '' && !signal.aborted) throw new UsageError('expected a prompt, as words or on stdin');
  return prompt;
}

/** Whether stdin is a file, a pipe or a socket, and not a terminal or /dev/null. */
function isPiped({ isTTY }: ReadStream): boolean {
  if (isTTY) return false;
  const stats = fstatSync(0);
  return stats.isFile() || stats.isFIFO() || stats.isSocket();
}

async function readPiped({ stdin, note }: Host, signal: AbortSignal): Promise<string> {
  const hint = setTimeout(
    () => note('Reading the prompt from stdin; end it with Ctrl-D, or use < /dev/null'),
    hintAfterMs,
  );
  const leave = () => stdin.destroy();
  signal.addEventListener('abort', leave, { once: true });
  try {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of stdin as AsyncIterable<Buffer>) {
      clearTimeout(hint);
      bytes += chunk.length;
      if (bytes > pipedBytesMax) throw new UsageError(`stdin holds more than ${pipedBytesMax} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  } catch (error) {
    if (signal.aborted) return '';
    throw error;
  } finally {
    clearTimeout(hint);
    signal.removeEventListener('abort', leave);
  }
}
