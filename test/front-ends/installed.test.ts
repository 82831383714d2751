import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

test.each(Object.keys(dependencies))('the installed %s is the version that these suites were written for', (name) => {
  const wanted = dependencies[name].replace(/^npm:.*@/, '');
  const { version } = JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8'));
  expect(version).toBe(wanted);
});
