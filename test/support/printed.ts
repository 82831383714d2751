/** The texts that are printed from the tables in src/, each with the file that holds it. Run as a script, it writes them. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { configInputSource, configReference } from '../../src/configs/config-reference.ts';
import { limitValuesSource, settingsReference } from '../../src/settings/settings-reference.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Printed {
  readonly file: string;
  /** All of the file, as it should be. */
  text(): string;
}

export const printed: readonly Printed[] = [
  { file: 'src/configs/config-input.ts', text: () => formatted(configInputSource()) },
  { file: 'src/settings/limit-values.ts', text: () => formatted(limitValuesSource()) },
  { file: 'README.md', text: readme },
];

export function read(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

function readme(): string {
  const tables = { 'config-keys': configReference(), settings: settingsReference() };
  return Object.entries(tables).reduce((text, [name, table]) => {
    const [before, after] = [`<!-- ${name} -->\n\n`, `\n<!-- /${name} -->`];
    const [start, end] = [text.indexOf(before), text.indexOf(after)];
    if (start === -1 || end === -1) throw new Error(`README.md has no place for the table of ${name}`);
    return text.slice(0, start + before.length) + table + text.slice(end);
  }, read('README.md'));
}

function formatted(source: string): string {
  const oxfmt = join(dirname(createRequire(import.meta.url).resolve('oxfmt/package.json')), 'bin/oxfmt');
  return execFileSync(process.execPath, [oxfmt, '--stdin-filepath', 'printed.ts'], {
    cwd: root,
    input: source,
    encoding: 'utf8',
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { file, text } of printed) writeFileSync(join(root, file), text());
}
