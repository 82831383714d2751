/** The environment variables that a config names, and what is wrong with their values. Repeats neither name nor value. */
import { headerValueExpected, isHeaderValue, secretIn } from '../upstream/address/headers.ts';
import type { SoundConfig } from './config-schema.ts';

/** The environment variables that a config names, each with where it does. */
export function variablesOf({
  api_key_env,
  headers = {},
}: Partial<Pick<SoundConfig, 'api_key_env' | 'headers'>>): [key: readonly string[], name: string][] {
  const ofHeaders = Object.entries(headers).flatMap(([name, value]): [string[], string][] =>
    typeof value === 'string' ? [] : [[['headers', name, 'env'], value.env]],
  );
  return [...(api_key_env === undefined ? [] : [[['api_key_env'], api_key_env] as [string[], string]]), ...ofHeaders];
}

/** A pasted key may look like a name, so neither is told. */
export function variableProblem(env: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  const value = secretIn(env, name);
  if (value === undefined) return 'expected the name of an environment variable that is set, found one that is not';
  return isHeaderValue(value)
    ? undefined
    : `expected ${headerValueExpected} in that environment variable, found others, since a header is to carry them`;
}
