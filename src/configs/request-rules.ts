/**
 * The rules of config keys that are longer than a line. Values that go to the Messages API nearly as they are written keep
 * the API's names for their fields, so that its documents can be read beside a config.
 */
import { z } from 'zod';
import { closed, filledText, text, truth, variableName, wholeNumber } from '../settings/rules.ts';
import { type DataSchema, dataSchemaOf, SchemaError, type SchemaUse } from '../tools/schemas.ts';
import { headerNameProblem, headerValueExpected, isHeaderValue } from '../upstream/address/headers.ts';

/** A Standard Schema or a JSON Schema, judged for its use. */
export function schema(use: SchemaUse) {
  return z.unknown().transform((written, { issues }): DataSchema => {
    try {
      return dataSchemaOf(written, use);
    } catch (thrown) {
      if (!(thrown instanceof SchemaError)) throw thrown;
      for (const { path, message } of thrown.problems) {
        issues.push({ code: 'custom', input: written, path: [...path], message, params: { whole: true } });
      }
      return z.NEVER;
    }
  });
}

/** Whether JSON can hold the value as it is. A config in TypeScript may hold functions and dates. */
function isJson(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isJson);
  if (typeof value !== 'object' || value === null) {
    return value === null || ['string', 'boolean'].includes(typeof value) || Number.isFinite(value);
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  return (prototype === Object.prototype || prototype === null) && Object.values(value).every(isJson);
}

const json = () => z.unknown().refine(isJson, { error: 'a value that JSON can hold' });

/** Fields of the API under any name. */
export const rawFields = z.record(z.string(), json(), { error: 'a map from field to value' });

const budgetTokensMin = 1_024;

export const thinking = closed({
  type: z
    .enum(['adaptive', 'between_tools', 'enabled', 'disabled'], {
      error: '"adaptive", "between_tools", "enabled" or "disabled"',
    })
    .optional()
    .describe(
      'Whether the model thinks. With `adaptive` the model decides how much; a `thinking` without `type` means this. With `between_tools` it thinks only between calls of tools.',
    ),
  budget_tokens: wholeNumber(budgetTokensMin)
    .optional()
    .describe(
      'The most tokens that the model may think for: at least 1,024 and fewer than `max_tokens`. Set with `type: enabled`, and only with it.',
    ),
  show: z
    .union([truth(), z.literal('updates')], { error: 'true, false or "updates"' })
    .default(false)
    .describe('Whether clients receive the thinking; with `updates` what the model writes about its progress.'),
})
  .refine(({ type, budget_tokens }) => type !== 'enabled' || budget_tokens !== undefined, {
    path: ['budget_tokens'],
    error: 'a number of tokens, since type is "enabled"',
  })
  .refine(({ type, budget_tokens }) => type === 'enabled' || budget_tokens === undefined, {
    path: ['budget_tokens'],
    error: 'nothing, since only type "enabled" takes it',
  })
  .refine(({ type, show }) => show !== 'updates' || (type !== 'between_tools' && type !== 'disabled'), {
    path: ['show'],
    error: 'true or false, since only types "adaptive" and "enabled" take "updates"',
  });

const headerValue = z.union(
  [
    text().refine(isHeaderValue, { error: headerValueExpected }),
    closed({ env: variableName().describe('The environment variable that holds the value.') }),
  ],
  { error: 'text, or {env: the name of an environment variable}' },
);

export const headers = z
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

export const mcpServers = z.array(
  closed({
    type: z.literal('url', { error: '"url"' }).optional().describe('Upstream knows no other type.'),
    name: filledText('a name').describe('The name of the server, each once.'),
    url: filledText('the URL of the server').describe('Where upstream finds the server.'),
    token_env: variableName()
      .optional()
      .describe('The name of the environment variable that holds the token with which upstream authenticates there.'),
    default_config: rawFields.optional().describe('What holds for each of the server’s tools, as the API has it.'),
    configs: rawFields.optional().describe('What holds for single tools, by their names, as the API has it.'),
  }),
  { error: 'a list of servers' },
);

export const cache = closed({
  system: truth().default(false).describe('Whether the system prompt, with the tools before it, is kept.'),
  tools: truth().default(false).describe('Whether the tools are kept.'),
  messages: truth().default(false).describe('Whether the conversation is kept up to its last block.'),
  ttl: z
    .enum(['5m', '1h'], { error: '"5m" or "1h"' })
    .optional()
    .describe('How long upstream keeps it after its last use. Five minutes unless set; an hour costs more to write.'),
});

export const contextManagement = z.looseObject(
  {
    edits: z
      .array(z.looseObject({ type: filledText('the type of an edit').describe('Its type.') }, { error: 'an edit' }), {
        error: 'a list of edits',
      })
      .describe('What upstream takes out of a conversation that has become long, and when, as the API has it.'),
  },
  { error: 'an object with a list of edits' },
);

export const container = z.union(
  [
    filledText('the id of a container'),
    closed({
      id: filledText('the id of a container').optional().describe('The id of a container that upstream keeps.'),
      skills: z
        .array(
          closed({
            type: z.enum(['anthropic', 'custom'], { error: '"anthropic" or "custom"' }).describe('Whose skill it is.'),
            skill_id: filledText('the id of a skill').describe('The id of the skill.'),
            version: text().optional().describe('Its version, or `latest`.'),
          }),
          { error: 'a list of skills' },
        )
        .optional()
        .describe('The skills that upstream loads.'),
    }),
  ],
  { error: 'the id of a container, or {id, skills}' },
);

const betaExpected = 'the name of a beta, such as "context-management-2025-06-27"';

export const betas = z.array(text(betaExpected).regex(/^[\w.-]+$/, { error: betaExpected }), {
  error: 'a list of names',
});
