/**
 * The process as commands see it: what they read, and where they write. Keeps two rules: nothing but data goes to stdout, and a
 * reader of stdout that leaves (`| head -1`) is no error.
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
  /** Writes a line to stderr. */
  readonly note: (line: string) => void;
  /** Sets the exit code of the process. The first code that isn't 0 stays. */
  readonly exitWith: (code: ExitCode) => void;
}

/** Writes data to stdout. */
export class Output {
  readonly #stream: WriteStream;
  readonly #gone = new AbortController();

  /** @param onFailure Called with an error of stdout, such as a full disk, but not where the reader has left. */
  constructor(stream: WriteStream, onFailure: (error: Error) => void) {
    this.#stream = stream;
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && !this.gone.aborted) onFailure(error);
      this.#gone.abort();
    });
  }

  /** Aborts when stdout takes no more. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  get isTerminal(): boolean {
    return this.#stream.isTTY;
  }

  /** Settles when stdout has room for more, or takes no more at all. Never rejects. */
  async write(text: string): Promise<void> {
    if (this.gone.aborted || this.#stream.write(text)) return;
    await once(this.#stream, 'drain', { signal: this.gone }).catch(() => {});
  }
}

/**
 * Text without control characters, by which an answer could move a terminal's cursor or set its title or the clipboard. Tabs
 * and newlines stay.
 */
export function withoutControls(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}
