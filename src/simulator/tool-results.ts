/** The simulator's answer from the results of tools. It passes on what the tools gave, and says so. */
import type { GivenResult } from './asked.ts';
import { quote } from './docs-search.ts';
import { isObject } from './fields.ts';
import type { ScriptedBlock } from './streaming.ts';
import type { RequestBlock } from './validation.ts';

/** The most characters of a result that is passed on. */
const resultCharsMax = 1_500;

export function answerFromResults(results: readonly GivenResult[]): string {
  if (results.length === 0) return 'I am the simulator, and no tool has given me anything.';
  return `${results.map(inWords).join('\n\n')}\n\nI am the simulator, so this is what the tools gave, and no thought.`;
}

/** What follows `pause_turn`: the results of the API's own tools, which are empty here, and a text. */
export function continuationOf(paused: readonly RequestBlock[]): ScriptedBlock[] {
  const results = paused.map(({ id, name }) => ({ type: `${String(name)}_tool_result`, tool_use_id: id, content: [] }));
  return [
    ...results,
    { type: 'text', text: 'That took a while. The simulator found nothing, since it has no network.' },
  ];
}

function inWords({ name, input, content, isError }: GivenResult): string {
  const called = `**${name}** (${inOneLine(input)})`;
  if (isError) return `${called} failed:\n\n${quote(shortened(content))}`;
  return content === '' ? `${called} gave no result.` : `${called} gave:\n\n${readable(content)}`;
}

/** A record as a list, any other text as a quotation. */
function readable(content: string): string {
  const value = parsed(content);
  if (Array.isArray(value)) return value.map((each) => quote(shortened(asMarkdown(each)))).join('\n\n');
  return isObject(value) ? shortened(asMarkdown(value)) : quote(shortened(content));
}

/** Each field as an item; fields whose text has several lines follow as they are. */
function asMarkdown(value: unknown): string {
  if (!isObject(value)) return typeof value === 'string' ? value : JSON.stringify(value);
  const texts = Object.entries(value).map(
    ([key, each]) => [key, typeof each === 'string' ? each : JSON.stringify(each)] as const,
  );
  const short = texts.filter(([, text]) => !text.includes('\n')).map(([key, text]) => `- ${key}: ${text}`);
  const long = texts.filter(([, text]) => text.includes('\n')).map(([, text]) => text);
  return [short.join('\n'), ...long].filter((part) => part !== '').join('\n\n');
}

function inOneLine(input: unknown): string {
  if (!isObject(input)) return JSON.stringify(input) ?? '';
  return Object.entries(input)
    .map(([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
}

function shortened(text: string): string {
  return text.length > resultCharsMax ? `${text.slice(0, resultCharsMax)}…` : text;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
