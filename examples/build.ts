/**
 * Installs and builds each example in an empty folder, with both packages as they would be published. The arguments name examples;
 * all of them without any. It needs the registry, and takes minutes, so `npm test` leaves it out.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '..');
const folder = mkdtempSync(join(tmpdir(), 'examples-'));

function run(command: string, args: readonly string[], cwd: string): void {
  execFileSync(command, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'] });
}

/** The tarballs, by the names of their packages. */
function pack(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    ['.', 'packages/client'].map((path) => {
      const { name, version } = JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8')) as Record<
        string,
        string
      >;
      run('npm', ['pack', '--silent', '--pack-destination', folder], join(root, path));
      return [name, `file:${join(folder, `${name!.replace('@', '').replace('/', '-')}-${version}.tgz`)}`];
    }),
  );
}

/** Puts the tarballs in the place of versions that a registry would have. */
function useTarballs(example: string, tarballs: Readonly<Record<string, string>>): void {
  const path = join(example, 'package.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Record<string, Record<string, string> | undefined>;
  for (const kind of ['dependencies', 'devDependencies']) {
    for (const name of Object.keys(manifest[kind] ?? {})) {
      const tarball = tarballs[name];
      if (tarball !== undefined) manifest[kind]![name] = tarball;
    }
  }
  writeFileSync(path, JSON.stringify(manifest, null, 2));
}

const all = readdirSync(here, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const chosen = process.argv.length > 2 ? process.argv.slice(2) : all.map(({ name }) => name);
try {
  const tarballs = pack();
  for (const name of chosen) {
    console.log(`\n${name}`);
    const example = join(folder, name);
    cpSync(join(here, name), example, { recursive: true, filter: (path) => !/node_modules|dist$/.test(path) });
    useTarballs(example, tarballs);
    run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], example);
    run('npm', ['run', '--silent', 'build'], example);
  }
} finally {
  rmSync(folder, { recursive: true });
}
