/**
 * The format of a config at run time: keys, bounds, defaults, what is said of a problem, and the same as JSON Schema. Judges one config at a time;
 * knows neither files nor other configs. A problem quotes no prompt and nothing that may be a key.
 */
import { z } from 'zod';
import { baseUrlExpected, isBaseUrl, isMessagesPath, messagesPathExpected } from '../upstream/address/base-url.ts';
import { headerNameProblem, headerValueExpected, isHeaderValue } from '../upstream/address/headers.ts';
import type { ConfigInput } from '../define-configs.ts';
import { describeValue, suggestion, type Problem } from '../settings/problems.ts';
import { formatPath } from '../protocol.ts';

// ---------------------------------------------------------------------------------------------------------- schema

/** The longest delay that a Node timer takes; a longer one would fire at once. */
const delayMsMax = 2 ** 31 - 1;
const retriesMax = 100;
const budgetTokensMin = 1_024;

// Each `error` says what was expected; `problemsIn` makes the sentence. For unknown keys it names those there are.

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

const variableName = () =>
  text(variableNameExpected).regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: variableNameExpected });

const headerValue = z.union(
  [text().refine(isHeaderValue, { error: headerValueExpected }), closed({ env: variableName() })],
  { error: 'text, or {env: the name of an environment variable}' },
);

const headers = z
  .record(z.string(), headerValue, { error: 'a map from header name to value' })
  .check(({ value, issues }) => {
    const names = Object.keys(value);
    for (const [index, name] of names.entries()) {
      const twice = names.slice(0, index).some((other) => other.toLowerCase() === name.toLowerCase());
      const message =
        headerNameProblem(name) ?? (twice ? 'each header once, whatever the case of its name' : undefined);
      if (message !== undefined) issues.push({ code: 'custom', input: value[name], path: [name], message });
    }
  });

const promptFile = closed({
  file: filled('the path of a text file'),
  variables: z.array(text('the name of a variable'), { error: 'a list of names' }).optional(),
});

/** Yields what is resolved further in configs.ts: names as in the file, defaults filled in. */
export const configSchema = closed({
  model: filled('the id of a model').describe('Upstream’s id of the model.'),
  max_tokens: wholeNumber(1).describe('Tokens of the answer; a model that thinks spends its thinking’s from them too.'),
  system_prompt: z
    .union([z.string(), promptFile], { error: 'text, or {file, variables?}' })
    .describe('What the model is told before the conversation; {{name}} in it is a variable. Text, or a file with it.'),
  description: text().optional().describe('What the config is for. Clients can read it.'),
  temperature: share().optional().describe('Models from 4.7 on refuse it.'),
  top_p: share().optional().describe('Models from 4.7 on refuse it.'),
  top_k: wholeNumber(0).optional().describe('Models from 4.7 on refuse it.'),
  stop_sequences: z
    .array(filled('text that is not blank'), { error: 'a list of texts' })
    .optional()
    .describe('Texts at which the model stops.'),
  thinking: closed({
    type: z
      .enum(['adaptive', 'enabled', 'disabled'], { error: '"adaptive", "enabled" or "disabled"' })
      .optional()
      .describe('"enabled" goes with budget_tokens.'),
    budget_tokens: wholeNumber(budgetTokensMin).optional().describe('Less than max_tokens; with "enabled" only.'),
    show: truth.default(false).describe('Whether clients get to see it.'),
  })
    .refine(({ type, budget_tokens }) => type !== 'enabled' || budget_tokens !== undefined, {
      path: ['budget_tokens'],
      error: 'a number of tokens, since type is "enabled"',
    })
    .refine(({ type, budget_tokens }) => type === 'enabled' || budget_tokens === undefined, {
      path: ['budget_tokens'],
      error: 'nothing, since only type "enabled" takes it',
    })
    .optional()
    .describe('Unset: upstream’s default for the model, hidden from clients.'),
  base_url: text(baseUrlExpected)
    .refine(isBaseUrl, { error: baseUrlExpected })
    .optional()
    .describe('Another server that speaks the Messages API. ANTHROPIC_API_KEY is never sent to it.'),
  messages_path: text(messagesPathExpected)
    .refine(isMessagesPath, { error: messagesPathExpected })
    .optional()
    .describe('Where the Messages API stands below the base URL; /v1/messages unless given.'),
  api_key_env: variableName().optional().describe('The name of the environment variable that holds this config’s key.'),
  api_key_header: z
    .enum(['authorization', 'x-api-key'], { error: '"authorization" or "x-api-key"' })
    .optional()
    .describe('The header that carries the key; "authorization", as a bearer token, unless given.'),
  headers: headers
    .optional()
    .describe('Headers to send with each request; {env} names the environment variable that holds a secret value.'),
  cache_prompt: truth.default(false).describe('Lets upstream cache the prompt.'),
  on_disconnect: z
    .union([z.literal('continue'), closed({ cancel_after_ms: durationMs() })], {
      error: '"continue", or {cancel_after_ms}',
    })
    .default({ cancel_after_ms: 15_000 })
    .describe('When the last viewer is lost: cancel after a grace time, or run to the end.'),
  timeouts: closed({
    first_byte_ms: durationMs().default(60_000).describe('To the first byte of upstream’s answer.'),
    idle_ms: durationMs().default(120_000).describe('Between two events of upstream.'),
    total_ms: durationMs().default(600_000).describe('For the whole generation, retries and fallback included.'),
  })
    .prefault({})
    .describe('How long upstream may take.'),
  retries: closed({
    max: wholeNumber(0, retriesMax).default(2).describe('0 for none.'),
    total_ms: durationMs().default(20_000).describe('From the first attempt on; no retry begins later.'),
  })
    .prefault({})
    .describe('Only before the first output.'),
  fallback: text('the name of another config')
    .optional()
    .describe('The config that answers if this one fails before its first output.'),
  price: closed({ input: dollars(), output: dollars(), cache_write: dollars(), cache_read: dollars() })
    .optional()
    .describe('US dollars per million tokens, in place of the built-in table’s.'),
} satisfies Record<keyof ConfigInput, z.ZodType>).refine(
  ({ thinking, max_tokens }) => thinking?.budget_tokens === undefined || thinking.budget_tokens < max_tokens,
  { path: ['thinking', 'budget_tokens'], error: 'fewer tokens than max_tokens' },
);
export type SoundConfig = z.output<typeof configSchema>;

/** Names stand in URLs and in label values, and are looked up where `constructor` must not be found by chance. */
export const namePattern = /^(?!\.+$)[A-Za-z0-9_.-]{1,64}$/;

/** Where a JSON or YAML file names its schema, beside its configs. */
export const schemaKey = '$schema';

/**
 * The JSON Schema of config files, for editors: a map from config name to config. Draft 7, which they all know. It holds
 * less than `parseConfigs` does: what one key says of another, files, fallbacks and the environment are not in it.
 */
export function configFileJsonSchema(): object {
  const { $schema, ...config } = z.toJSONSchema(configSchema, { target: 'draft-7', io: 'input' });
  return {
    $schema,
    title: 'Config file of llm-service',
    description: 'A map from config name to config.',
    type: 'object',
    properties: { [schemaKey]: { type: 'string' } },
    patternProperties: { [namePattern.source]: config },
    additionalProperties: false,
  };
}

// ---------------------------------------------------------------------------------------------------------- problems

/** Keys whose values may hold a prompt or a key. */
const hiddenKeys = new Set<PropertyKey>(['system_prompt', 'base_url', 'messages_path', 'api_key_env', 'headers']);

/** All that `configSchema` found wrong with the value, which `path` leads to. */
export function problemsIn(error: z.core.$ZodError, value: unknown, path: readonly PropertyKey[]): Problem[] {
  const problems = new Map<string, Problem>();
  for (const issue of error.issues.flatMap((each) => meantBranch(each))) {
    const place = formatPath([...path, ...issue.path]);
    if (issue.code === 'unrecognized_keys') {
      const known = issue.message.split(', ');
      for (const key of issue.keys) {
        const hint = suggestion(key, known) || `; known are ${issue.message}`;
        problems.set(`${place}.${key}`, {
          path: formatPath([...path, ...issue.path, key]),
          message: `unknown key${hint}`,
        });
      }
    } else if (!problems.has(place)) {
      const found = valueAt(value, issue.path);
      const hidden = typeof found === 'string' && (issue.path[0] === undefined || hiddenKeys.has(issue.path[0]));
      const shown = hidden ? 'text, not shown here' : describeValue(found);
      problems.set(place, { path: place, message: `expected ${issue.message}, found ${shown}` });
    }
  }
  return [...problems.values()];
}

/** Where one of several forms was expected and an object was found, its own problems tell more than "none of these". */
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
