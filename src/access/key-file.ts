/** Reads the keys of callers from the text of the file that `LLM_API_KEYS_FILE` names. No problem quotes what may be a key. */
import { z } from 'zod';
import type { CallerLimits } from '../caller.ts';
import { parseJson, TextError } from '../configs/config-text.ts';
import { formatPath } from '../protocol.ts';
import { limitRule, limits, type Limit } from '../settings/limits.ts';
import { ProblemsError, quote, suggestion, type Problem } from '../settings/problems.ts';
import { closed, filledText, problemsIn, text } from '../settings/rules.ts';
import { digestIn, digestOfNothing, isKeyName, keyNameExpected } from './api-keys.ts';
import type { CallerKey } from './keys.ts';

/** The limits that an entry may replace, by their names there: those of the settings in lower case, without `LLM_`. */
const limitKeys = new Map(
  (
    [
      'generationsPerCallerMax',
      'viewersPerCallerMax',
      'socketsPerCallerMax',
      'startsPerMinuteMax',
      'tokensPerCallerPerDayMax',
      'costPerCallerPerDayMax',
    ] as const satisfies readonly (keyof CallerLimits)[]
  ).map((key) => [writtenName(limits[key].name), key] as const),
);

const digestExpected = 'the 64 hex digits of a key’s SHA-256';
const timeExpected = 'a time with its zone, such as "2027-01-31T12:00:00Z"';
const configExpected = 'the name of a config';

const entryRule = closed({
  name: text(keyNameExpected).refine(isKeyName, { error: keyNameExpected }),
  sha256: text(digestExpected)
    .overwrite((written) => digestIn(written) ?? '')
    .min(1, { error: digestExpected })
    .refine((digest) => digest !== digestOfNothing, { error: 'the digest of a key, not that of an empty text' }),
  expires_at: z.iso.datetime({ offset: true, error: timeExpected }).optional(),
  configs: z.array(filledText(configExpected), { error: 'a list of names of configs' }).optional(),
  limits: closed(
    Object.fromEntries([...limitKeys].map(([name, key]) => [name, limitRule(limits[key] as Limit).optional()])),
  ).optional(),
});

const fileRule = z.array(entryRule, { error: 'a list of keys, as [{"name": …, "sha256": …}]' });

/** @throws ProblemsError with everything that is wrong */
export function parseKeyFile(written: string): CallerKey[] {
  const value = withPlainLimits(parsed(written));
  const { success, data, error } = fileRule.safeParse(value);
  if (!success) throw new ProblemsError('', problemsIn(error, value, [], mayBeKey));
  const twice = data.flatMap(({ sha256 }, at): Problem[] => {
    const first = data.findIndex((other) => other.sha256 === sha256);
    if (first === at) return [];
    return [{ path: formatPath([at, 'sha256']), message: `expected each key once, found that of [${first}] again` }];
  });
  if (twice.length > 0) throw new ProblemsError('', twice);
  return data.map(({ name, sha256, expires_at: expiresAt, configs, limits: own }) => ({
    name,
    sha256,
    ...(expiresAt !== undefined && { expiresAtMs: Date.parse(expiresAt) }),
    ...(configs && { configs }),
    ...(own && { limits: Object.fromEntries(Object.entries(own).map(([key, max]) => [limitKeys.get(key)!, max])) }),
  }));
}

/** What is taken, and may not do what its author wants: names of configs that there aren't, keys that nobody can use any more. */
export function doubtsOfKeys(keys: readonly CallerKey[], configNames: readonly string[]): Problem[] {
  return keys.flatMap(({ configs = [], expiresAtMs = Infinity }, at) => [
    ...configs.flatMap((name, index) =>
      configNames.includes(name)
        ? []
        : [
            {
              path: formatPath([at, 'configs', index]),
              message: `expected ${configExpected}, found ${quote(name)}${suggestion(name, configNames)}`,
            },
          ],
    ),
    ...(expiresAtMs <= Date.now()
      ? [{ path: formatPath([at, 'expires_at']), message: 'expected a time to come, found one that is over' }]
      : []),
  ]);
}

function parsed(written: string): unknown {
  try {
    return parseJson(written);
  } catch (error) {
    if (!(error instanceof TextError)) throw error;
    throw new ProblemsError(
      '',
      error.messages.map((message) => ({ path: '', message })),
    );
  }
}

/** The names of limits may also be written as README's table and as the types of this package write them. */
function withPlainLimits(file: unknown): unknown {
  if (!Array.isArray(file)) return file;
  return file.map((entry: unknown) => {
    const own = (entry as { readonly limits?: unknown } | null)?.limits;
    if (typeof own !== 'object' || own === null || Array.isArray(own)) return entry;
    const plain = Object.entries(own).map(([name, max]) => [writtenName(name), max]);
    return { ...(entry as object), limits: Object.fromEntries(plain) };
  });
}

function writtenName(name: string): string {
  return name
    .replace(/^LLM_/, '')
    .replaceAll(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

/** Somebody may have written a key where its name or digest belongs. */
function mayBeKey([, field]: readonly PropertyKey[]): boolean {
  return field !== 'configs' && field !== 'expires_at' && field !== 'limits';
}
