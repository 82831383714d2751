/**
 * A file that an operator writes and the service reads again whenever it changes. A text that can't be taken is refused, the
 * reasons are logged, and what was read before stays. Knows nothing of what the file is for.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ProblemsError, type Problem } from '../settings/problems.ts';
import { SettingsError } from '../settings/settings.ts';
import { look, watchFiles } from '../settings/watched-files.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';

export interface LiveFileOptions {
  /** What the file holds, for people: `keys`. */
  readonly what: string;
  /** The setting that names the file. */
  readonly variable: string;
  /** Relative to `cwd`. */
  readonly file: string;
  readonly cwd: string;
  /** Takes the text of the file. @throws ProblemsError with what is wrong in it. */
  readonly take: (text: string) => void | Promise<void>;
  readonly telemetry: Pick<Telemetry, 'fileTaken' | 'fileRefused' | 'internalError'>;
}

export interface LiveFile extends AsyncDisposable {
  /** Reads the file again, after a read that is under way. Never rejects: telemetry logs the outcome. */
  reload(): Promise<void>;
}

const bytesMax = 1_024 * 1_024;
/** With which a text in UTF-16 begins. */
const utf16Marks = [Buffer.from([0xff, 0xfe]), Buffer.from([0xfe, 0xff])];

/**
 * Reads the file, and again whenever it changes, until disposal.
 *
 * @throws SettingsError if it can't be read or taken at first.
 */
export async function openLiveFile(options: LiveFileOptions): Promise<LiveFile> {
  const { what, variable, file, cwd, telemetry } = options;
  const path = resolve(cwd, file);
  const closed = new AbortController();
  let looks = new Map([[path, look(path)]]);

  async function read(): Promise<void> {
    looks = new Map([[path, look(path)]]);
    await options.take(await textOf(path));
  }
  async function readAgain(): Promise<void> {
    try {
      await read();
      telemetry.fileTaken(what, file);
    } catch (error) {
      if (error instanceof ProblemsError) telemetry.fileRefused(what, file, error.problems);
      else telemetry.internalError(what, error);
    }
  }
  try {
    await read();
  } catch (error) {
    if (!(error instanceof ProblemsError)) throw error;
    throw new SettingsError(`${variable}: ${file} holds no ${what} that can be taken:`, error.problems);
  }
  let underWay = Promise.resolve();
  const reload = () => (underWay = underWay.then(readAgain));
  const watching = watchFiles(() => looks, reload, closed.signal);
  return {
    reload,
    async [Symbol.asyncDispose]() {
      closed.abort();
      await watching;
      await underWay;
    },
  };
}

/** @throws ProblemsError */
async function textOf(path: string): Promise<string> {
  try {
    // Without O_NONBLOCK, opening a pipe would wait for its writer.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await file.stat();
    if (!stats.isFile()) throw new ProblemsError('', [whole('expected a file, found none')]);
    if (stats.size > bytesMax) throw new ProblemsError('', [whole(`expected at most ${bytesMax} bytes`)]);
    const bytes = await file.readFile();
    if (utf16Marks.some((mark) => bytes.subarray(0, 2).equals(mark))) {
      throw new ProblemsError('', [
        whole('expected UTF-8, found UTF-16, which ">" writes in some versions of PowerShell'),
      ]);
    }
    return bytes.toString().replace(/^\uFEFF/, '');
  } catch (error) {
    if (error instanceof ProblemsError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? 'an error';
    throw new ProblemsError('', [whole(`expected a file that can be read, found ${code}`)], { cause: error });
  }
}

function whole(message: string): Problem {
  return { path: '', message };
}
