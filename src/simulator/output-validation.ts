/**
 * What the Messages API refuses about the form of an answer: effort, a format that isn't known, a schema that it can't hold
 * the model to, and parameters of a beta that the request doesn't name. The words are the API's where they are known.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { isObject, type Fields } from './fields.ts';

/** Parameters that only a beta has, each with the beginning of the beta's name. */
const betaParameters: Readonly<Record<string, string>> = {
  mcp_servers: 'mcp-client-',
  context_management: 'context-management-',
};

/** The first objection; undefined where there is none. Takes messages whose form was judged. */
export function outputObjection(body: Fields, headers: IncomingHttpHeaders): string | undefined {
  for (const [parameter, beta] of Object.entries(betaParameters)) {
    if (body[parameter] !== undefined && !namesBeta(headers, beta)) {
      return `${parameter}: Extra inputs are not permitted`;
    }
  }
  const { output_config: config } = body;
  if (config === undefined) return undefined;
  if (!isObject(config)) return 'output_config: Input should be a valid dictionary';
  const { effort = null, format = null } = config;
  if (effort !== null && !efforts.has(effort)) {
    return "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'";
  }
  return format === null ? undefined : formatObjection(format, body);
}

/** Whether a request names a beta whose name begins so. */
export function namesBeta({ 'anthropic-beta': betas }: IncomingHttpHeaders, beginning: string): boolean {
  return [betas].flat().some((names) => names?.split(',').some((name) => name.trim().startsWith(beginning)));
}

const efforts: ReadonlySet<unknown> = new Set(['low', 'medium', 'high', 'xhigh', 'max']);

function formatObjection(format: unknown, { messages, tools }: Fields): string | undefined {
  if (!isObject(format)) return 'output_config.format: Input should be a valid dictionary';
  if (format['type'] !== 'json_schema') return "output_config.format.type: Input should be 'json_schema'";
  const { schema } = format;
  if (!isObject(schema)) return 'output_config.format.schema: Input should be a valid dictionary';
  const objection = schemaObjection(schema);
  if (objection !== undefined) return `output_config.format.schema: ${objection}`;
  const list = messages as readonly Fields[];
  if (list.at(-1)?.['role'] === 'assistant')
    return 'output_config.format: prefilling the answer is not supported with it';
  return cites(list) || cites(tools) ? 'output_config.format: citations are not supported with it' : undefined;
}

/** A schema of more parts than this can't be compiled. */
const partsMax = 1_000;

/** Keywords that the API's grammar doesn't know. */
const unsupported = [
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'maxItems',
  'uniqueItems',
  'prefixItems',
  'oneOf',
  'not',
  'if',
  'patternProperties',
  'propertyNames',
];

function schemaObjection(root: Fields): string | undefined {
  let parts = 0;
  const judge = (schema: unknown, refs: readonly string[]): string | undefined => {
    parts += 1;
    if (parts > partsMax) return tooLarge;
    if (!isObject(schema)) return 'Invalid schema: expected an object';
    const found = unsupported.filter((keyword) => keyword in schema);
    if (found.length > 0)
      return `For '${String(schema['type'])}' type, properties ${found.join(', ')} are not supported`;
    const { $ref: ref, type, properties, items, anyOf, additionalProperties } = schema;
    if (typeof ref === 'string') {
      if (refs.includes(ref)) return `Circular reference detected in schema definitions: ${ref}`;
      return judge(target(root, ref), [...refs, ref]);
    }
    if (type === 'object' && additionalProperties !== false) {
      return "For 'object' type, 'additionalProperties' must be explicitly set to false";
    }
    const choices = Array.isArray(anyOf) ? (anyOf as unknown[]) : [];
    const children = [...Object.values(isObject(properties) ? properties : {}), ...choices];
    if (type === 'array') children.push(items);
    for (const child of children) {
      const objection = judge(child, refs);
      if (objection !== undefined) return objection;
    }
    return undefined;
  };
  return judge(root, ['#']);
}

const tooLarge =
  'Invalid schema: The compiled grammar is too large, which would cause performance issues. Simplify your tool schemas or reduce the number of strict tools.';

function target(root: Fields, ref: string): unknown {
  const [, holder, name] = ref.split('/');
  const definitions = root[holder!];
  return isObject(definitions) ? definitions[name!] : undefined;
}

/** Whether any block or tool in it has citations. */
function cites(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(cites);
  if (!isObject(value)) return false;
  const { citations } = value;
  return (isObject(citations) && citations['enabled'] === true) || cites(value['content']);
}
