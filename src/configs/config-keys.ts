/**
 * The keys of a config, each in one place: its rule and default, its meaning, and what it adds to a request to the Messages API.
 * From here come the schema that judges a config (config-schema.ts), the type that `defineConfigs` takes (config-input.ts,
 * printed by `npm run fix`), the table in README (printed likewise), the JSON Schema of config files, the type of a
 * resolved `Config`, and the body and headers of a request (upstream/messages-api/request.ts).
 */
import { z } from 'zod';
import { closed, durationMs, filledText, text, truth, variableName, wholeNumber } from '../settings/rules.ts';
import { toolsRule } from '../tools/tool-set.ts';
import { betasOfTools } from '../tools/typed-tools.ts';
import { baseUrlExpected, isBaseUrl, isMessagesPath, messagesPathExpected } from '../upstream/address/base-url.ts';
import { ConfiguredHeaders } from '../upstream/address/headers.ts';
import { entry, type BodyFields, type NamedVariable } from './config-entry.ts';
import {
  betas,
  cache,
  container,
  contextManagement,
  headers,
  mcpServers,
  rawFields,
  schema,
  thinking,
} from './request-rules.ts';

// The `error` of each rule says what was expected; `problemsIn` of settings/rules.ts makes the sentence.

const retriesMax = 100;
const stepsMax = 1_000;

/** The last version of the API that takes `temperature`, `top_p` and `top_k`. Later versions refuse them. */
const samplingHeaders = { 'anthropic-version': '2023-06-01' };

function share() {
  const error = 'a number from 0 to 1';
  return z.number({ error }).min(0, { error }).max(1, { error });
}

function dollars() {
  const error = 'a number of US dollars, at least 0';
  return z.number({ error }).min(0, { error });
}

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

/** The tool whose input is the answer, with `output_mode: tool`. */
export const outputTool = { name: 'output', description: 'Takes the answer. Call it once, with the whole answer.' };

export const configKeys = {
  model: entry(filledText('the id of a model'), {
    meaning: 'The id that upstream has for the model.',
    owns: ['model'],
    body: (model) => ({ model }),
  }),
  max_tokens: entry(wholeNumber(1), {
    meaning: 'The most tokens that upstream generates. A model that thinks spends some of them on its thinking.',
    owns: ['max_tokens'],
    body: (tokens) => ({ max_tokens: tokens }),
  }),
  system_prompt: entry(z.union([z.string(), promptFile], { error: 'text, or {file, variables?}' }), {
    meaning:
      'What the model reads before the conversation: the text, or the file that has the text. `{{name}}` in it is a variable, which each request must give. An empty text is not sent.',
    type: 'SystemPrompt & NoOtherKeys<SystemPrompt, PromptFileInput>',
    secret: true,
    resolvedName: 'prompt',
    owns: ['system'],
    body: (_, { prompt }) => (prompt === '' ? {} : { system: prompt }),
  }),
  description: entry(text().optional(), {
    meaning: 'What the config is for. Clients can read it.',
  }),
  temperature: entry(share().optional(), {
    meaning: 'How much the model varies its words, from 0 to 1. Models from 4.7 on refuse it.',
    owns: ['temperature'],
    body: (temperature) => ({ temperature }),
    headers: () => samplingHeaders,
  }),
  top_p: entry(share().optional(), {
    meaning:
      'The model chooses among the likeliest tokens whose probabilities add up to this, from 0 to 1. Models from 4.7 on refuse it.',
    owns: ['top_p'],
    body: (topP) => ({ top_p: topP }),
    headers: () => samplingHeaders,
  }),
  top_k: entry(wholeNumber(0).optional(), {
    meaning: 'The model chooses among this many of the likeliest tokens. Models from 4.7 on refuse it.',
    owns: ['top_k'],
    body: (topK) => ({ top_k: topK }),
    headers: () => samplingHeaders,
  }),
  stop_sequences: entry(z.array(filledText('text that is not blank'), { error: 'a list of texts' }).optional(), {
    meaning: 'Texts at which the model stops.',
    owns: ['stop_sequences'],
    body: (sequences) => ({ stop_sequences: sequences }),
  }),
  thinking: entry(thinking.optional(), {
    meaning:
      'How the model thinks. Unless set, upstream decides it for the model, and clients do not receive the thinking.',
    owns: ['thinking.type', 'thinking.budget_tokens', 'thinking.display'],
    body: ({ type = 'adaptive', budgetTokens, show }) => ({
      thinking:
        type === 'disabled' || type === 'between_tools'
          ? { type }
          : {
              type,
              ...(budgetTokens === undefined ? {} : { budget_tokens: budgetTokens }),
              // Upstream sends no thinking that clients don't see, and so comes to the text sooner.
              display: show === true ? 'summarized' : show || 'omitted',
            },
    }),
    betas: ({ show }) => (show === 'updates' ? ['thinking-display-updates-2026-08-18'] : []),
  }),
  effort: entry(
    z
      .enum(['low', 'medium', 'high', 'xhigh', 'max'], { error: '"low", "medium", "high", "xhigh" or "max"' })
      .optional(),
    {
      meaning:
        'How much the model does for an answer: more takes longer, and more tokens. Unless set, the model’s default.',
      owns: ['output_config.effort'],
      body: (effort) => ({ output_config: { effort } }),
    },
  ),
  output: entry(schema('output').optional(), {
    meaning:
      'The schema of the object that answers: of zod or another library with Standard Schema, or a JSON Schema. The text of the answer is JSON, and `done.object` says whether it fits.',
    kind: 'a schema',
    type: 'Schema',
    resolve: (outputSchema) => outputSchema,
    owns: ['output_config.format'],
    body: ({ json }, { config }) =>
      config['outputMode'] === 'tool'
        ? { tools: [{ ...outputTool, input_schema: json }], tool_choice: { type: 'tool', name: outputTool.name } }
        : { output_config: { format: { type: 'json_schema', schema: json } } },
  }),
  output_mode: entry(z.enum(['tool'], { error: '"tool"' }).optional(), {
    meaning:
      'For a server of `base_url` that has no structured output: with `tool` the object is the input of a tool that the model must call. Upstream guarantees nothing then, and clients see no difference.',
  }),
  tools: entry(toolsRule.optional(), {
    meaning:
      'What the model may call: tools that the service executes (`tool`), that the client answers (`clientTool`), and tools of upstream by their `type`.',
    type: 'ToolsInput',
    secret: true,
    resolve: (tools) => tools,
    owns: ['tools'],
    body: ({ body }) => (body.length === 0 ? {} : { tools: body }),
    betas: ({ body }) => betasOfTools(body),
  }),
  tool_choice: entry(z.enum(['auto', 'none'], { error: '"auto" or "none"' }).optional(), {
    meaning: 'Whether the model may call tools. `auto` unless set.',
    owns: ['tool_choice'],
    body: (type) => ({ tool_choice: { type } }),
  }),
  parallel_tools: entry(truth().optional(), {
    meaning: 'Whether the model may call several tools at once. It may unless set to `false`.',
    // After `tool_choice`, which it completes.
    body: (parallel, { config }) =>
      parallel || config['toolChoice'] === 'none'
        ? {}
        : { tool_choice: { type: 'auto', disable_parallel_tool_use: true } },
  }),
  mcp_servers: entry(mcpServers.optional(), {
    meaning: 'MCP servers whose tools upstream calls by itself.',
    secret: true,
    variables: (servers) =>
      servers.flatMap(({ token_env: name }, index): NamedVariable[] =>
        name === undefined ? [] : [[[index, 'token_env'], name]],
      ),
    resolve: (servers) => servers,
    owns: ['mcp_servers', 'tools'],
    // After `tools`, to which it adds.
    body: (servers, { fields, secret }) => ({
      mcp_servers: servers.map(({ name, url, token_env: variable }) => {
        const token = variable === undefined ? undefined : secret(variable);
        return { type: 'url', name, url, ...(token === undefined ? {} : { authorization_token: token }) };
      }),
      tools: [
        ...listOf(fields['tools']),
        ...servers
          .filter(({ name }) => listOf(fields['tools']).every((tool) => tool['mcp_server_name'] !== name))
          .map(({ name, default_config, configs }) => ({
            type: 'mcp_toolset',
            mcp_server_name: name,
            ...(default_config && { default_config }),
            ...(configs && { configs }),
          })),
      ],
    }),
    betas: () => ['mcp-client-2025-11-20'],
  }),
  steps: entry(
    closed({
      max: wholeNumber(1, stepsMax)
        .default(8)
        .describe(
          'The most messages of the model. Each but the last may call tools, whose results the next one reads.',
        ),
      cost_usd: dollars()
        .optional()
        .describe('US dollars, after which no more tools are called. A cost that is not known counts as too high.'),
      at_limit: z
        .enum(['answer', 'end'], { error: '"answer" or "end"' })
        .default('answer')
        .describe('At a limit the model answers in a last message, without tools; with `end`, the generation ends.'),
    }).prefault({}),
    { meaning: 'How often a generation may go on after the model has called tools.' },
  ),
  client_tools: entry(
    closed({
      wait_ms: durationMs(0)
        .default(60_000)
        .describe('Milliseconds; with 0 the generation ends at once, and the next request brings the results.'),
    }).prefault({}),
    {
      meaning:
        'How long a generation waits for the results and approvals of a client. `timeouts.total_ms` rests meanwhile.',
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
    meaning: 'Whether upstream may cache the system prompt, for five minutes. `cache` says more.',
    // After `system_prompt`, whose field it overwrites.
    body: (cached, { prompt }) =>
      cached && prompt !== '' ? { system: [{ type: 'text', text: prompt, cache_control: { type: 'ephemeral' } }] } : {},
  }),
  cache: entry(cache.optional(), {
    meaning: 'What upstream keeps of a request, so that the next one that begins the same costs less.',
    owns: ['cache_control'],
    // After the system prompt, the tools and the MCP servers, which it marks.
    body: ({ system, tools, messages, ttl }, { prompt, fields }) => {
      const mark = { type: 'ephemeral', ...(ttl === undefined ? {} : { ttl }) };
      const list = listOf(fields['tools']);
      // A tool that is loaded later can't be marked.
      const last = list.findLastIndex((tool) => tool['defer_loading'] !== true);
      return {
        ...(system && prompt !== '' ? { system: [{ type: 'text', text: prompt, cache_control: mark }] } : {}),
        ...(tools && last !== -1 ? { tools: list.with(last, { ...list[last], cache_control: mark }) } : {}),
        ...(messages ? { cache_control: mark } : {}),
      };
    },
  }),
  context_management: entry(contextManagement.optional(), {
    meaning: 'How upstream shortens a conversation that has become long. What it did is in `done.contextManagement`.',
    resolve: (written) => written,
    owns: ['context_management'],
    body: (written) => ({ context_management: written }),
    betas: ({ edits }) => [
      'context-management-2025-06-27',
      ...(edits.some(({ type }) => type === 'compact_20260112') ? ['compact-2026-01-12'] : []),
    ],
  }),
  container: entry(container.optional(), {
    meaning:
      'The container in which upstream runs code, with the skills in it. `done.container` names the one that was used.',
    resolve: (written) => written,
    owns: ['container'],
    body: (written) => ({ container: written }),
  }),
  user_id: entry(z.enum(['caller'], { error: '"caller"' }).optional(), {
    meaning:
      'With `caller`, upstream learns which requests have the same caller, by an id from which nobody can read the name. It changes with the key for upstream.',
    owns: ['metadata'],
    body: (_, { userId }) => ({ metadata: { user_id: userId() } }),
  }),
  service_tier: entry(z.enum(['auto', 'standard_only'], { error: '"auto" or "standard_only"' }).optional(), {
    meaning: 'Whether upstream may use capacity that was bought in advance. `usage.serviceTier` says what it used.',
    owns: ['service_tier'],
    body: (tier) => ({ service_tier: tier }),
  }),
  inference_geo: entry(filledText('the name of a region, such as "us"').optional(), {
    meaning:
      'The region in which the model runs. It can change the price, so the cost is unknown unless `price` is set.',
    owns: ['inference_geo'],
    body: (geo) => ({ inference_geo: geo }),
  }),
  speed: entry(z.enum(['standard', 'fast'], { error: '"standard" or "fast"' }).optional(), {
    meaning: 'With `fast`, more tokens in a second at a higher price: the cost is unknown unless `price` is set.',
    owns: ['speed'],
    body: (speed) => ({ speed }),
    betas: () => ['fast-mode-2026-02-01'],
  }),
  betas: entry(betas.optional(), {
    meaning:
      'Names of betas of the API, for the header `anthropic-beta`. Those that other keys need are added; one of them under another date takes its place.',
  }),
  extra: entry(rawFields.optional(), {
    meaning:
      'Fields of a request that have no key of their own, by their names in the Messages API. A field that a key sets is refused here.',
    secret: true,
    resolve: (written) => written,
    // After all other keys, whose objects it may complete.
    body: (written) => written,
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
    { meaning: 'How often a failed request is sent again. A message that has begun is not asked for again.' },
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

/** Tools as the keys before have added them. */
function listOf(tools: unknown): readonly BodyFields[] {
  return Array.isArray(tools) ? (tools as BodyFields[]) : [];
}
