/**
 * What the Messages API refuses about tools: their declarations, the choice among them, and calls and results that don't
 * belong together. The words are the API's where they are known.
 */
import { isObject, type Fields } from './fields.ts';

/** The first objection to the tools of a request; undefined where there is none. Takes messages whose form was judged. */
export function toolsObjection(body: Fields): string | undefined {
  return declarationsObjection(body['tools']) ?? choiceObjection(body) ?? pairsObjection(body['messages'] as Fields[]);
}

function declarationsObjection(tools: unknown): string | undefined {
  if (tools === undefined) return undefined;
  if (!Array.isArray(tools)) return 'tools: Input should be a valid array';
  const names = new Set<unknown>();
  for (const [index, tool] of (tools as unknown[]).entries()) {
    if (!isObject(tool)) return `tools.${index}: Input should be a valid dictionary`;
    const { type = 'custom', name } = tool;
    const objection = type === 'custom' ? customObjection(tool, `tools.${index}.custom`) : undefined;
    if (objection !== undefined) return objection;
    if (name !== undefined && names.has(name)) return 'tools: Tool names must be unique.';
    names.add(name);
  }
  return undefined;
}

const namePattern = /^[a-zA-Z0-9_-]{1,128}$/;

function customObjection({ name, input_schema: schema, description }: Fields, path: string): string | undefined {
  if (name === undefined) return `${path}.name: Field required`;
  if (typeof name !== 'string') return `${path}.name: Input should be a valid string`;
  if (!namePattern.test(name)) return `${path}.name: String should match pattern '${namePattern.source}'`;
  if (description !== undefined && typeof description !== 'string') {
    return `${path}.description: Input should be a valid string`;
  }
  if (schema === undefined) return `${path}.input_schema: Field required`;
  if (!isObject(schema)) return `${path}.input_schema: Input should be a valid dictionary`;
  return schema['type'] === 'object' ? undefined : `${path}.input_schema.type: Input should be 'object'`;
}

const choiceTypes: ReadonlySet<unknown> = new Set(['any', 'auto', 'none', 'tool']);

function choiceObjection({ tool_choice: choice, tools, model, thinking }: Fields): string | undefined {
  if (choice === undefined) return undefined;
  if (!isObject(choice)) return 'tool_choice: Input should be a valid dictionary';
  const { type, name } = choice;
  if (!choiceTypes.has(type)) {
    return `tool_choice: Input tag '${String(type)}' found using 'type' does not match any of the expected tags: 'any', 'auto', 'none', 'tool'`;
  }
  const declared = Array.isArray(tools) ? (tools as Fields[]) : [];
  if (declared.length === 0) return 'tool_choice: tool_choice may only be specified while providing tools';
  if (type !== 'any' && type !== 'tool') return undefined;
  if (refusesForcedChoice(String(model))) return `tool_choice: forced tool use is not supported by ${String(model)}`;
  if (type === 'tool' && !declared.some((tool) => tool['name'] === name)) {
    return `tool_choice.tool.name: Tool '${String(name)}' not found in provided tools`;
  }
  const thinks = isObject(thinking) && thinking['type'] !== 'disabled';
  return thinks ? 'Thinking may not be enabled when tool_choice forces tool use.' : undefined;
}

/** Models from 5.5 on choose by themselves whether they call a tool. */
function refusesForcedChoice(model: string): boolean {
  const [, major, minor] = /^claude-[a-z]+-(\d{1,2})-(\d{1,2})(?!\d)/.exec(model) ?? [];
  return Number(major) > 5 || (Number(major) === 5 && Number(minor) >= 5);
}

/** Each call of a message must have one result in the next message, before everything else there, and each result its call. */
function pairsObjection(messages: readonly Fields[]): string | undefined {
  const seen = new Set<unknown>();
  let open: readonly unknown[] = [];
  for (const [index, { role, content }] of messages.entries()) {
    const blocks = Array.isArray(content) ? (content as Fields[]) : [];
    const objection = answersObjection(blocks, open, index);
    if (objection !== undefined) return objection;
    open = role === 'assistant' ? blocks.filter(({ type }) => type === 'tool_use').map(({ id }) => id) : [];
    for (const id of open) {
      if (seen.has(id)) return 'messages: `tool_use` ids must be unique';
      seen.add(id);
    }
  }
  return open.length === 0 ? undefined : unanswered(messages.length - 1, open);
}

/** @param open The ids of the calls in the message before. */
function answersObjection(blocks: readonly Fields[], open: readonly unknown[], index: number): string | undefined {
  const answered = new Set<unknown>();
  let leading = true;
  for (const [at, { type, tool_use_id: id }] of blocks.entries()) {
    if (type !== 'tool_result') {
      leading = false;
      continue;
    }
    const path = `messages.${index}.content.${at}`;
    if (typeof id !== 'string') return `${path}.tool_result.tool_use_id: Field required`;
    if (!open.includes(id)) {
      return `${path}: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${id}. Each \`tool_result\` block must have a corresponding \`tool_use\` block in the previous message.`;
    }
    if (answered.has(id)) {
      return `${path}: each tool_use must have a single result. Found multiple \`tool_result\` blocks with id: ${id}`;
    }
    // A result after something else counts as missing.
    if (leading) answered.add(id);
  }
  const missing = open.filter((id) => !answered.has(id));
  return missing.length === 0 ? undefined : unanswered(index - 1, missing);
}

function unanswered(index: number, ids: readonly unknown[]): string {
  return `messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${ids.join(', ')}. Each \`tool_use\` block must have a corresponding \`tool_result\` block in the next message.`;
}
