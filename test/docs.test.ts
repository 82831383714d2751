import { expect, it } from 'vitest';
import { errorTable } from '../src/errors.ts';
import { errorCodes } from '../src/protocol.ts';
import { printed, read } from './support/printed.ts';

it.each(printed)('$file holds what the tables in the source say; `npm run fix` prints it', ({ file, text }) => {
  expect(read(file)).toBe(text());
});

it('PROTOCOL lists every error code with its status and whether a retry helps', () => {
  const rows = [...read('PROTOCOL.md').matchAll(/^\| `(\w+)` \| ([\w ]+) \| (yes|no) \| /gm)];
  const told = new Map(rows.map(([, code, status, retry]) => [code, { status, retry }]));
  expect([...told.keys()]).toEqual([...errorCodes]);
  for (const code of errorCodes) {
    const { status, retryable } = errorTable[code];
    expect(told.get(code)?.retry, code).toBe(retryable ? 'yes' : 'no');
    // What only ever comes as an event has no status to tell.
    if (!told.get(code)?.status?.startsWith('event')) expect(told.get(code)?.status, code).toContain(String(status));
  }
});

it('every link between the documents leads somewhere', () => {
  for (const file of ['README.md', 'ARCHITECTURE.md', 'PROTOCOL.md', 'CHANGELOG.md']) {
    const links = [...read(file).matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, path]) => path!);
    for (const path of links) expect(() => read(path), `${file} links ${path}`).not.toThrow();
  }
});
