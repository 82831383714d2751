import { existsSync, readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { describe, expect, it } from 'vitest';
import { errorTable } from '../src/errors.ts';
import { errorCodes } from '../src/protocol.ts';
import { printed, read } from './support/printed.ts';

const documents = [
  'README.md',
  'ARCHITECTURE.md',
  'PROTOCOL.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...markdownIn('docs'),
];

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
    // A code that appears only in events has no status.
    if (!told.get(code)?.status?.startsWith('event')) expect(told.get(code)?.status, code).toContain(String(status));
  }
});

it('troubleshooting says what to do about every error code', () => {
  const rows = [...read('docs/troubleshooting.md').matchAll(/^\| ((?:`\w+`(?:, )?)+) \|/gm)];
  const told = new Set(rows.flatMap(([, codes]) => [...codes!.matchAll(/\w+/g)].map(([code]) => code)));
  expect(errorCodes.filter((code) => !told.has(code))).toEqual([]);
});

it('each package that is installed with the service has its reason, and no other has', () => {
  const { dependencies, peerDependencies } = JSON.parse(read('package.json')) as Record<
    'dependencies' | 'peerDependencies',
    Readonly<Record<string, string>>
  >;
  const rows = [...read('docs/decisions/production-dependencies.md').matchAll(/^\| `(\S+)` \| ./gm)];
  expect(rows.map(([, name]) => name)).toEqual(Object.keys({ ...dependencies, ...peerDependencies }).toSorted());
});

describe('links', () => {
  const pages = [...documents, 'CHANGELOG.md'];

  it.each(pages)('of %s lead to files and headings that exist', (page) => {
    for (const [, target, fragment] of withoutCode(read(page)).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)/g)) {
      const file = target === '' ? page : posix.join(posix.dirname(page), target!);
      expect(() => read(file), `${page} links ${file}`).not.toThrow();
      if (fragment !== undefined)
        expect(anchorsOf(read(file)), `${page} links ${file}#${fragment}`).toContain(fragment);
    }
  });

  it('lead from the documents to every page of docs', () => {
    const linked = new Set(
      pages.flatMap((page) =>
        [...read(page).matchAll(/\]\((?!https?:)([^)#\s]+)/g)].map(([, target]) =>
          posix.join(posix.dirname(page), target!),
        ),
      ),
    );
    // Comments in the source name the decisions; a newcomer finds them in their folder.
    const toFind = markdownIn('docs').filter((page) => !page.startsWith('docs/decisions/'));
    expect(toFind.filter((page) => !linked.has(page))).toEqual([]);
  });
});

it.each(documents)('the files and folders of this repository that %s names exist', (page) => {
  const named = read(page).matchAll(/`((?:src|test|bench|client-example|docs)\/[\w./-]*)`/g);
  const missing = [...named]
    .map(([, path]) => path!)
    .filter((path) => !existsSync(new URL(`../${path}`, import.meta.url)));
  expect(missing).toEqual([]);
});

/** Paths of the Markdown files below a folder of the repository. */
function markdownIn(folder: string): string[] {
  return readdirSync(new URL(`../${folder}/`, import.meta.url), { recursive: true })
    .map((path) => `${folder}/${String(path).replaceAll('\\', '/')}`)
    .filter((path) => path.endsWith('.md'))
    .toSorted();
}

/** Markdown without its code, in which brackets are no links and `#` begins no heading. */
function withoutCode(markdown: string): string {
  return markdown.replace(/^```.*?^```/gms, '').replace(/`[^`\n]*`/g, 'code');
}

/** The anchors that GitHub gives the headings of a page: lower case, no punctuation, blanks as hyphens. */
function anchorsOf(markdown: string): string[] {
  const headings = markdown.replace(/^```.*?^```/gms, '').matchAll(/^#{1,6} (.+)$/gm);
  return [...headings].map(([, text]) =>
    text!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
