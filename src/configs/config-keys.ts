/**
 * The keys of a config, each in one place: its rule and default, its meaning, and what it adds to a request to the Messages API.
 * From here come the schema that judges a config (config-schema.ts), the type that `defineConfigs` takes (config-input.ts,
 * printed by `npm run fix`), the table in README (printed likewise), the JSON Schema of config files, the type of a
 * resolved `Config`, and the body and headers of a request (upstream/messages-api/request.ts).
 */
import { z } from 'zod';
import { closed, durationMs, filledText, text, variableName, wholeNumber } from '../settings/rules.ts';
import { baseUrlExpected, isBaseUrl, isMessagesPath, messagesPathExpected } from '../upstream/address/base-url.ts';
import {
  ConfiguredHeaders,
  headerNameProblem,
  headerValueExpected,
  isHeaderValue,
} from '../upstream/address/headers.ts';
import { entry } from './config-entry.ts';

// The `error` of each rule says what was expected; `problemsIn` of settings/rules.ts makes the sentence.

const retriesMax = 100;
const budgetTokensMin = 1_024;

/** The last version of the API that takes `temperature`, `top_p` and `top_k`. Later versions refuse them. */
const samplingHeaders = { 'anthropic-version': '2023-06-01' };

const truth = () => z.boolean({ error: 'true or false' });

function share() {
  const error = 'a number from 0 to 1';
  return z.number({ error }).min(0, { error }).max(1, { error });
}

function dollars() {
  const error = 'a number of US dollars, at least 0';
  return z.number({ error }).min(0, { error });
}

const headerValue = z.union(
  [
    text().refine(isHeaderValue, { error: headerValueExpected }),
    closed({ env: variableName().describe('The environment variable that holds the value.') }),
  ],
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

/** A system prompt that stands in a file of its own. */
export const promptFile = closed({
  file: filledText('the path of a text file').describe(
    'The path of a text file in UTF-8 of at most 1 MiB. It is relative to the config file, or to the option `promptFolder` where the configs are given to `createLlmRouter`.',
  ),
  variables: z
    .array(text('the name of a variable'), { error: 'a list of names' })
    .optional()
    .describe(
      'The names of all variables in the text, for the types of clients. The service compares them with the text when it loads the configs.',
    ),
});

export const configKeys = {
  model: entry(filledText('the id of a model'), {
    meaning: 'The id that upstream has for the model.',
    body: (model) => ({ model }),
  }),
  max_tokens: entry(wholeNumber(1), {
    meaning: 'The most tokens that upstream generates. A model that thinks spends some of them on its thinking.',
    body: (tokens) => ({ max_tokens: tokens }),
  }),
  system_prompt: entry(z.union([z.string(), promptFile], { error: 'text, or {file, variables?}' }), {
    meaning:
      'What the model reads before the conversation: the text, or the file that has the text. `{{name}}` in it is a variable, which each request must give. An empty text is not sent.',
    type: 'SystemPrompt & NoOtherKeys<SystemPrompt, PromptFileInput>',
    secret: true,
    resolvedName: 'prompt',
    body: (_, { prompt }) => (prompt === '' ? {} : { system: prompt }),
  }),
  description: entry(text().optional(), {
    meaning: 'What the config is for. Clients can read it.',
  }),
  temperature: entry(share().optional(), {
    meaning: 'How much the model varies its words, from 0 to 1. Models from 4.7 on refuse it.',
    body: (temperature) => ({ temperature }),
    headers: () => samplingHeaders,
  }),
  top_p: entry(share().optional(), {
    meaning:
      'The model chooses among the likeliest tokens whose probabilities add up to this, from 0 to 1. Models from 4.7 on refuse it.',
    body: (topP) => ({ top_p: topP }),
    headers: () => samplingHeaders,
  }),
  top_k: entry(wholeNumber(0).optional(), {
    meaning: 'The model chooses among this many of the likeliest tokens. Models from 4.7 on refuse it.',
    body: (topK) => ({ top_k: topK }),
    headers: () => samplingHeaders,
  }),
  stop_sequences: entry(z.array(filledText('text that is not blank'), { error: 'a list of texts' }).optional(), {
    meaning: 'Texts at which the model stops.',
    body: (sequences) => ({ stop_sequences: sequences }),
  }),
  thinking: entry(
    closed({
      type: z
        .enum(['adaptive', 'enabled', 'disabled'], { error: '"adaptive", "enabled" or "disabled"' })
        .optional()
        .describe('Whether the model thinks. `adaptive`, the default, lets the model decide how much.'),
      budget_tokens: wholeNumber(budgetTokensMin)
        .optional()
        .describe(
          'The most tokens that the model may think for: at least 1,024 and fewer than `max_tokens`. Set with `type: enabled`, and only with it.',
        ),
      show: truth().default(false).describe('Whether clients receive the thinking.'),
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
    {
      meaning:
        'How the model thinks. Unless set, upstream decides it for the model, and clients do not receive the thinking.',
      body: ({ type = 'adaptive', budgetTokens, show }) => ({
        thinking:
          type === 'disabled'
            ? { type }
            : {
                type,
                ...(budgetTokens === undefined ? {} : { budget_tokens: budgetTokens }),
                // Upstream sends no thinking that clients don't see, and so comes to the text sooner.
                display: show ? 'summarized' : 'omitted',
              },
      }),
    },
  ),
  base_url: entry(text(baseUrlExpected).refine(isBaseUrl, { error: baseUrlExpected }).optional(), {
    meaning:
      'Another server that speaks the Messages API, with or without `/v1`. `ANTHROPIC_API_KEY` is never sent to it: `api_key_env` names its key.',
    secret: true,
  }),
  messages_path: entry(text(messagesPathExpected).refine(isMessagesPath, { error: messagesPathExpected }).optional(), {
    meaning:
      'The path of the Messages API below the base URL, with a query if the server needs one. `/v1/messages` unless set.',
    secret: true,
  }),
  api_key_env: entry(variableName().optional(), {
    meaning: 'The name of the environment variable that holds the key for this config.',
    secret: true,
    variables: (name) => [[[], name]],
  }),
  api_key_header: entry(
    z.enum(['authorization', 'x-api-key'], { error: '"authorization" or "x-api-key"' }).optional(),
    {
      meaning: 'The header that carries the key. `authorization`, with the key as a bearer token, unless set.',
    },
  ),
  headers: entry(headers.optional(), {
    meaning:
      'Headers to send with each request. A value that is a secret stands in an environment variable, which `{env: NAME}` names.',
    secret: true,
    variables: (written) =>
      Object.entries(written).flatMap(([name, value]): [string[], string][] =>
        typeof value === 'string' ? [] : [[[name, 'env'], value.env]],
      ),
    resolve: (written) => new ConfiguredHeaders(written),
  }),
  cache_prompt: entry(truth().default(false), {
    meaning: 'Whether upstream may cache the system prompt.',
    // After `system_prompt`, whose field it overwrites.
    body: (cached, { prompt }) =>
      cached && prompt !== '' ? { system: [{ type: 'text', text: prompt, cache_control: { type: 'ephemeral' } }] } : {},
  }),
  on_disconnect: entry(
    z
      .union(
        [
          z.literal('continue'),
          closed({ cancel_after_ms: durationMs().describe('Milliseconds from the loss of the last viewer.') }),
        ],
        { error: '"continue", or {cancel_after_ms}' },
      )
      .default({ cancel_after_ms: 15_000 }),
    {
      meaning:
        'What becomes of a generation that has lost its last viewer: it is cancelled after a grace time, or with `continue` it runs to its end.',
    },
  ),
  timeouts: entry(
    closed({
      first_byte_ms: durationMs()
        .default(60_000)
        .describe('Milliseconds from the request to the first byte of the response’s body.'),
      idle_ms: durationMs().default(120_000).describe('Milliseconds between two events of upstream.'),
      total_ms: durationMs()
        .default(600_000)
        .describe('Milliseconds for the whole generation, with its retries and its fallback.'),
    }).prefault({}),
    { meaning: 'How long upstream may take.' },
  ),
  retries: entry(
    closed({
      max: wholeNumber(0, retriesMax).default(2).describe('How many more requests may follow the first; 0 for none.'),
      total_ms: durationMs()
        .default(20_000)
        .describe('Milliseconds from the first request on, after which no retry begins.'),
    }).prefault({}),
    { meaning: 'How often a failed request is sent again. After the first output no request is sent again.' },
  ),
  fallback: entry(text('the name of another config').optional(), {
    meaning:
      'The config that takes over where this one and its retries fail before the first output. Its prompt may have no variables but those of this one’s.',
    type: 'OtherName',
  }),
  price: entry(
    closed({
      input: dollars().describe('For input.'),
      output: dollars().describe('For output.'),
      cache_write: dollars().describe('For input that upstream’s cache takes in.'),
      cache_read: dollars().describe('For input that upstream’s cache already has.'),
    }).optional(),
    { meaning: 'US dollars for a million tokens, in place of those of the built-in table.' },
  ),
};
