/**
 * The table of config keys as two texts: README's table, and the TypeScript types in config-input.ts. `npm run fix` prints
 * them, and test/docs.test.ts fails where either differs from the table. Nothing of it runs in a service.
 */
import type { z } from 'zod';
import { code, docComment, markdownTable } from '../settings/settings-reference.ts';
import type { ConfigEntry } from './config-entry.ts';
import { configKeys, promptFile } from './config-keys.ts';

/** The part of zod's definitions that the printing reads. */
type Definition =
  | { readonly type: 'string' | 'number' | 'boolean' }
  | { readonly type: 'optional'; readonly innerType: z.ZodType }
  | { readonly type: 'default' | 'prefault'; readonly innerType: z.ZodType; readonly defaultValue: unknown }
  | { readonly type: 'literal'; readonly values: readonly unknown[] }
  | { readonly type: 'enum'; readonly entries: Readonly<Record<string, string>> }
  | { readonly type: 'union'; readonly options: readonly z.ZodType[] }
  | { readonly type: 'array'; readonly element: z.ZodType }
  | { readonly type: 'record'; readonly valueType: z.ZodType }
  | { readonly type: 'object'; readonly shape: Readonly<Record<string, z.ZodType>>; readonly catchall?: z.ZodType }
  | { readonly type: 'unknown' };

interface Key {
  readonly name: string;
  readonly rule: z.ZodType;
  readonly meaning: string;
  readonly type?: string | undefined;
  readonly kind?: string | undefined;
}

const keys: readonly Key[] = Object.entries<ConfigEntry>(configKeys).map(([name, entry]) => ({ name, ...entry }));

// ----------------------------------------------------------------------------------------------------------- README

/** All keys as a Markdown table; a key within an object stands below it, after a dot. */
export function configReference(): string {
  return markdownTable(
    ['Key', 'Value', 'Default', 'Meaning'],
    keys.flatMap((key) => rowsOf(key, '')),
  );
}

function rowsOf({ name, rule, meaning, kind }: Key, prefix: string): string[][] {
  const path = `${prefix}${name}`;
  const { inner, optional, byDefault } = unwrapped(rule);
  const value = typeof byDefault === 'object' || byDefault === undefined ? '' : code(JSON.stringify(byDefault));
  const whole = typeof byDefault === 'object' && Object.keys(byDefault as object).length > 0;
  return [
    [code(path), kind ?? kindOf(inner), whole ? code(inOneLine(byDefault)) : optional ? value : 'required', meaning],
    ...nestedKeys(inner).flatMap((key) =>
      rowsOf(key, definitionOf(inner).type === 'array' ? `${path}[].` : `${path}.`),
    ),
  ];
}

/** `{cancel_after_ms: 15000}` */
function inOneLine(value: unknown): string {
  return JSON.stringify(value).replaceAll(/"(\w+)":/g, '$1: ');
}

/** The kind of a value in few words; the keys of an object have rows of their own. */
function kindOf(rule: z.ZodType): string {
  const definition = definitionOf(rule);
  switch (definition.type) {
    case 'string':
      return 'text';
    case 'boolean':
      return '`true` or `false`';
    case 'object':
      return code(`{${Object.keys(definition.shape).join(', ')}}`);
    case 'array':
      return `list of ${kindOf(definition.element)}`;
    case 'record':
      return `map from name to ${kindOf(definition.valueType)}`;
    case 'union':
      return definition.options.map(kindOf).join(' or ');
    case 'enum':
      return Object.values(definition.entries).map(code).join(', ');
    case 'literal':
      return definition.values.map((value) => code(String(value))).join(', ');
    case 'number':
      return 'number';
    default:
      return 'innerType' in definition ? kindOf(definition.innerType) : 'value';
  }
}

// ------------------------------------------------------------------------------------------------------------ types

/** The types that an entry's `type` may name, by the file that has them. */
const namedTypes = { './expected.ts': ['NoOtherKeys'], '../tools/tool.ts': ['Schema', 'ToolsInput'] };

/** The text of config-input.ts, not formatted yet. */
export function configInputSource(): string {
  return `/** The types of configs as \`defineConfigs\` takes them. \`npm run fix\` prints this file from config-keys.ts: change the table there. */
${importsOf(keys.map(({ type = '' }) => type).join(' '))}

/** A system prompt: the text itself, or a file with the text. */
export type PromptInput = string | PromptFileInput;

/** A system prompt that stands in a file of its own. */
export interface PromptFileInput ${objectType(promptFile)}

/** One config as \`defineConfigs\` and config files take it. A key whose name ends in \`_ms\` is in milliseconds. */
export interface ConfigInput<SystemPrompt extends PromptInput = PromptInput, OtherName = string> ${membersOf(keys)}
`;
}

/** Imports of those types that the text names. */
function importsOf(types: string): string {
  const imports = Object.entries(namedTypes).flatMap(([file, names]) => {
    const named = names.filter((name) => new RegExp(`\\b${name}\\b`).test(types));
    return named.length === 0 ? [] : [`import type { ${named.join(', ')} } from '${file}';`];
  });
  return imports.join('\n');
}

function membersOf(members: readonly Key[]): string {
  return `{\n${members.map(memberOf).join('\n')}\n}`;
}

function memberOf({ name, rule, meaning, type }: Key): string {
  const { inner, optional, byDefault } = unwrapped(rule);
  const isShown =
    byDefault !== undefined && (typeof byDefault !== 'object' || Object.keys(byDefault as object).length > 0);
  const suffix = isShown ? ` Default: \`${inOneLine(byDefault)}\`.` : '';
  return `${docComment(`${meaning}${suffix}`)}\nreadonly ${name}${optional ? '?' : ''}: ${type ?? typeOf(inner)};`;
}

function typeOf(rule: z.ZodType): string {
  const definition = definitionOf(rule);
  switch (definition.type) {
    case 'string':
    case 'number':
    case 'boolean':
    case 'unknown':
      return definition.type;
    case 'object':
      return objectType(rule);
    case 'array':
      return `readonly ${typeOf(definition.element)}[]`;
    case 'record':
      return `Readonly<Record<string, ${typeOf(definition.valueType)}>>`;
    case 'union':
      return definition.options.map(typeOf).join(' | ');
    case 'enum':
      return Object.values(definition.entries)
        .map((value) => `'${value}'`)
        .join(' | ');
    case 'literal':
      return definition.values.map((value) => `'${String(value)}'`).join(' | ');
    default:
      if ('innerType' in definition) return typeOf(definition.innerType);
      throw new Error(`expected \`type\` in the entry of a config key whose rule is a zod ${rule.def.type}`);
  }
}

function objectType(rule: z.ZodType): string {
  const definition = definitionOf(rule);
  const takesOthers = definition.type === 'object' && definition.catchall?.def.type === 'unknown';
  const members = membersIn(rule).map(memberOf);
  const others = takesOthers ? ['/** Fields of the API. */ readonly [field: string]: unknown;'] : [];
  return `{\n${[...members, ...others].join('\n')}\n}`;
}

// ------------------------------------------------------------------------------------------------------- zod's rules

function definitionOf(rule: z.ZodType): Definition {
  return rule.def as unknown as Definition;
}

/** The rule without what makes it optional, and its default. */
function unwrapped(rule: z.ZodType): { inner: z.ZodType; optional: boolean; byDefault?: unknown } {
  const definition = definitionOf(rule);
  switch (definition.type) {
    case 'optional':
      return { inner: definition.innerType, optional: true };
    case 'default':
    case 'prefault':
      return { inner: definition.innerType, optional: true, byDefault: definition.defaultValue };
    default:
      return { inner: rule, optional: false };
  }
}

function membersIn(rule: z.ZodType): Key[] {
  const definition = definitionOf(rule);
  if (definition.type !== 'object') return [];
  return Object.entries(definition.shape).map(([name, member]) => {
    if (member.description === undefined) throw new Error(`expected a meaning for the config key ${name}`);
    return { name, rule: member, meaning: member.description };
  });
}

/** The keys of an object, of that form of a value which is one, or of the objects in a list. */
function nestedKeys(rule: z.ZodType): Key[] {
  const definition = definitionOf(rule);
  if (definition.type === 'array') return membersIn(definition.element);
  return definition.type === 'union' ? definition.options.flatMap(membersIn) : membersIn(rule);
}
