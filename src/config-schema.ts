/**
 * The format of a config at run time: keys, bounds, defaults, and what is said of a fault. Judges one config at a time;
 * knows neither files nor other configs. A fault quotes no prompt and nothing that may be a key.
 */
import { z } from 'zod';
import type { ConfigInput } from './define-configs.ts';
import { describeValue, suggestion, type Fault } from './faults.ts';
import { formatPath } from './protocol.ts';

// ---------------------------------------------------------------------------------------------------------- schema

/** The longest delay that a Node timer takes; a longer one would fire at once. */
const delayMsMax = 2 ** 31 - 1;
const retriesMax = 100;
const budgetTokensMin = 1_024;

// Each `error` says what was expected; `faultsIn` makes the sentence. For unknown keys it names those there are.

const baseUrlExpected = 'an http or https URL without credentials, query or fragment';
const variableNameExpected = 'the name of an environment variable';

const text = (expected = 'text') => z.string({ error: expected });
const filled = (expected: string) => text(expected).regex(/\S/, { error: expected });
const truth = z.boolean({ error: 'true or false' });

function share() {
  const error = 'a number from 0 to 1';
  return z.number({ error }).min(0, { error }).max(1, { error });
}

function dollars() {
  const error = 'a number of US dollars, at least 0';
  return z.number({ error }).min(0, { error });
}

function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER) {
  const error =
    max < Number.MAX_SAFE_INTEGER ? `a whole number from ${min} to ${max}` : `a whole number of at least ${min}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}
const durationMs = () => wholeNumber(1, delayMsMax);

function closed<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? Object.keys(shape).join(', ') : 'an object'),
  });
}

const promptFile = closed({
  file: filled('the path of a text file'),
  variables: z.array(text('the name of a variable'), { error: 'a list of names' }).optional(),
});

/** Yields what is resolved further in configs.ts: names as in the file, defaults filled in. */
export const configSchema = closed({
  model: filled('the id of a model'),
  max_tokens: wholeNumber(1),
  system_prompt: z.union([z.string(), promptFile], { error: 'text, or {file, variables?}' }),
  description: text().optional(),
  temperature: share().optional(),
  top_p: share().optional(),
  top_k: wholeNumber(0).optional(),
  stop_sequences: z.array(filled('text that is not blank'), { error: 'a list of texts' }).optional(),
  thinking: closed({
    type: z.enum(['adaptive', 'enabled', 'disabled'], { error: '"adaptive", "enabled" or "disabled"' }).optional(),
    budget_tokens: wholeNumber(budgetTokensMin).optional(),
    show: truth.default(false),
  })
    .refine(({ type, budget_tokens }) => type !== 'enabled' || budget_tokens !== undefined, {
      path: ['budget_tokens'],
      error: 'a number of tokens, since type is "enabled"',
    })
    .refine(({ type, budget_tokens }) => type === 'enabled' || budget_tokens === undefined, {
      path: ['budget_tokens'],
      error: 'nothing, since only type "enabled" takes it',
    })
    .optional(),
  base_url: text(baseUrlExpected).refine(isBaseUrl, { error: baseUrlExpected }).optional(),
  api_key_env: text(variableNameExpected)
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: variableNameExpected })
    .optional(),
  cache_prompt: truth.default(false),
  on_disconnect: z
    .union([z.literal('continue'), closed({ cancel_after_ms: durationMs() })], {
      error: '"continue", or {cancel_after_ms}',
    })
    .default({ cancel_after_ms: 15_000 }),
  timeouts: closed({
    first_byte_ms: durationMs().default(60_000),
    idle_ms: durationMs().default(120_000),
    total_ms: durationMs().default(600_000),
  }).prefault({}),
  retries: closed({
    max: wholeNumber(0, retriesMax).default(2),
    total_ms: durationMs().default(20_000),
  }).prefault({}),
  fallback: text('the name of another config').optional(),
  price: closed({ input: dollars(), output: dollars(), cache_write: dollars(), cache_read: dollars() }).optional(),
} satisfies Record<keyof ConfigInput, z.ZodType>).refine(
  ({ thinking, max_tokens }) => thinking?.budget_tokens === undefined || thinking.budget_tokens < max_tokens,
  { path: ['thinking', 'budget_tokens'], error: 'fewer tokens than max_tokens' },
);
export type SoundConfig = z.output<typeof configSchema>;

function isBaseUrl(value: string): boolean {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  return (
    (url?.protocol === 'http:' || url?.protocol === 'https:') &&
    url.username === '' &&
    url.password === '' &&
    !/[?#]/.test(value)
  );
}

// ---------------------------------------------------------------------------------------------------------- faults

/** Keys whose values may hold a prompt or a key. */
const hiddenKeys = new Set<PropertyKey>(['system_prompt', 'base_url', 'api_key_env']);

/** All that `configSchema` found wrong with the value, which `path` leads to. */
export function faultsIn(error: z.core.$ZodError, value: unknown, path: readonly PropertyKey[]): Fault[] {
  const faults = new Map<string, Fault>();
  for (const issue of error.issues.flatMap((each) => meantBranch(each))) {
    const place = formatPath([...path, ...issue.path]);
    if (issue.code === 'unrecognized_keys') {
      const known = issue.message.split(', ');
      for (const key of issue.keys) {
        const hint = suggestion(key, known) || `; known are ${issue.message}`;
        faults.set(`${place}.${key}`, {
          path: formatPath([...path, ...issue.path, key]),
          message: `unknown key${hint}`,
        });
      }
    } else if (!faults.has(place)) {
      const found = valueAt(value, issue.path);
      const hidden = typeof found === 'string' && (issue.path[0] === undefined || hiddenKeys.has(issue.path[0]));
      const shown = hidden ? 'text, not shown here' : describeValue(found);
      faults.set(place, { path: place, message: `expected ${issue.message}, found ${shown}` });
    }
  }
  return [...faults.values()];
}

/** Where one of several forms was expected and an object was found, its own faults tell more than "none of these". */
function meantBranch(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const meant = issue.errors.find((branch) => !branch.some((each) => each.path.length === 0 && isMismatch(each)));
  return meant?.map((each) => ({ ...each, path: [...issue.path, ...each.path] })) ?? [issue];
}

function isMismatch(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value';
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((found, key) => (found as Record<PropertyKey, unknown> | undefined)?.[key], value);
}
