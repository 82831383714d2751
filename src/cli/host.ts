/**
 * The process as commands see it: what they read, where their data goes and where all else. Holds the rule that data is
 * alone on stdout, and that a reader who leaves (`| head -1`) is no error.
 */
import { once } from 'node:events';
import type { ReadStream, WriteStream } from 'node:tty';
import type { ExitCode } from './exit-codes.ts';

export interface Host {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly stdin: ReadStream;
  readonly stdout: Output;
  readonly stderr: WriteStream;
  /** A line to stderr. */
  readonly note: (line: string) => void;
  /** What the process ends with: the first code that isn't 0. */
  readonly exitWith: (code: ExitCode) => void;
}

/** Data for stdout. */
export class Output {
  readonly #stream: WriteStream;
  readonly #gone = new AbortController();

  /** @param onFailure Told of what is wrong if something is (a full disk), but for a reader who leaves. */
  constructor(stream: WriteStream, onFailure: (error: Error) => void) {
    this.#stream = stream;
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && !this.gone.aborted) onFailure(error);
      this.#gone.abort();
    });
  }

  /** Aborts when no more can be written. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  get isTerminal(): boolean {
    return this.#stream.isTTY;
  }

  /** Settles when there is room for more, or when all is in vain. Never rejects. */
  async write(text: string): Promise<void> {
    if (this.gone.aborted || this.#stream.write(text)) return;
    await once(this.#stream, 'drain', { signal: this.gone }).catch(() => {});
  }
}

/**
 * Text as it may be shown on a terminal: without the control characters by which an answer could move the cursor, set
 * the title or the clipboard. Tab and newline stay.
 */
export function withoutControls(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}
