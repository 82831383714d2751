/** A file of keys in a folder of its own, which a test writes anew. */
import { createHash } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';

export interface KeyFile {
  readonly path: string;
  /** Replaces the file, by rename, so that no look finds half of it. */
  write(content: unknown): Promise<void>;
}

export const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** A folder for each test, and the file in it, which the test must write. Call this before `serviceForEachTest`. */
export function keyFileForEachTest(file = 'keys.json'): KeyFile {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keys-'));
  });
  afterEach(() => rm(folder, { recursive: true }));
  return {
    get path() {
      return join(folder, file);
    },
    async write(content) {
      const text = typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content);
      await writeFile(join(folder, 'new'), text);
      await rename(join(folder, 'new'), join(folder, file));
    },
  };
}
