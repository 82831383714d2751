/** The Node versions that are promised: package.json, README and CI agree, and all dependencies accept them. */
import { readFileSync } from 'node:fs';
import semver from 'semver';
import { expect, it } from 'vitest';

const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');

interface Installed {
  readonly version: string;
  readonly engines?: { readonly node?: string };
  readonly dev?: boolean;
}

const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Installed> };
const promised = packages['']!.engines!.node!;
const oldest = semver.minVersion(promised)!.version;

/** Packages whose `engines` fail the test, as `path@version wants range`. */
function unfit(isFit: (range: string, installed: Installed) => boolean): string[] {
  return Object.entries(packages).flatMap(([path, installed]) => {
    const { version, engines } = installed;
    return engines?.node === undefined || isFit(engines.node, installed)
      ? []
      : [`${path}@${version} wants ${engines.node}`];
  });
}

it('every package in the lockfile takes the oldest Node that engines promises', () => {
  expect(unfit((range) => semver.satisfies(oldest, range))).toEqual([]);
});

it('every package that is installed with this one takes every Node that engines promises', () => {
  expect(unfit((range, { dev }) => dev === true || semver.subset(promised, range))).toEqual([]);
});

it('package.json, README, the types of Node and CI speak of one oldest Node', () => {
  const manifest = JSON.parse(read('package.json')) as {
    readonly engines: { readonly node: string };
    readonly devDependencies: Readonly<Record<string, string>>;
  };
  const { major, minor } = semver.parse(oldest)!;
  expect(manifest.engines.node).toBe(promised);
  expect(read('README.md')).toContain(`Node ${major}.${minor} or later`);
  // Newer types would accept functions that the oldest Node does not have.
  expect(semver.minVersion(manifest.devDependencies['@types/node']!)!.major).toBe(major);
  expect(read('.ci/run')).toContain(`with Node ${major},`);
  expect(read('.ci/run')).toContain('npm ci --engine-strict');
});
