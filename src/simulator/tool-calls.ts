/**
 * Which tools the simulator calls, and with which input: it compares the words of the question with those of the tools,
 * and fills each input from the tool's schema. The same request gets the same calls.
 */
import { isObject } from './fields.ts';
import { randomId, type Random } from './random.ts';
import { takesQuestion, valueFor } from './schema-value.ts';
import type { ScriptedBlock } from './streaming.ts';
import type { MessagesBody, RequestTool } from './validation.ts';
import { namesIn, stopWords, wordsOf } from './words.ts';

/** The most calls of one message. */
const callsMax = 4;

/**
 * The calls with which an answer to the question begins; none where no tool fits. A tool that takes a name from the question
 * is called once for each name. Where the request forces a call, there is one.
 */
export function callsFor(body: MessagesBody, question: string, random: Random): ScriptedBlock[] {
  const { type = 'auto', name, disable_parallel_tool_use: oneOnly = false } = body.tool_choice ?? {};
  const tools = customTools(body);
  if (type === 'none' || tools.length === 0) return [];
  const fitting = fittingTools(tools, question);
  const chosen =
    type === 'tool'
      ? tools.filter((tool) => tool.name === name)
      : type === 'any' && fitting.length === 0
        ? tools.slice(0, 1)
        : fitting;
  const calls = chosen.flatMap((tool) => inputsFor(tool, question).map((input) => callOf(tool.name, input, random)));
  return calls.slice(0, oneOnly ? 1 : callsMax);
}

/** Whether the request forces a call, and leaves no choice of plain text. */
export function isForced({ tool_choice: choice }: MessagesBody): boolean {
  return choice?.type === 'any' || choice?.type === 'tool';
}

type CustomTool = RequestTool & { readonly name: string };

/** The tools that the one who asks executes, and not the API itself. */
export function customTools({ tools = [] }: MessagesBody): readonly CustomTool[] {
  return tools.filter((tool): tool is CustomTool => (tool.type ?? 'custom') === 'custom');
}

export function callOf(name: string, input: unknown, random: Random): ScriptedBlock {
  return { type: 'tool_use', id: randomId('toolu', random), name, input };
}

/** An input for each name in the question, or one where the tool takes none of them. */
export function inputsFor(tool: RequestTool, question: string): unknown[] {
  const names = namesIn(question).slice(0, callsMax);
  const inputs = (names.length === 0 ? [undefined] : names).map((name) =>
    valueFor(tool.input_schema, { question, name }),
  );
  return [...new Map(inputs.map((input) => [JSON.stringify(input), input])).values()];
}

/** The tools that share the most words with the question; else the first that searches. */
function fittingTools(tools: readonly CustomTool[], question: string): readonly CustomTool[] {
  const asked = [...new Set(wordsOf(question))].filter((word) => !stopWords.has(word));
  if (asked.length === 0) return [];
  const scores = tools.map((tool) => {
    const words = wordsOf(`${tool.name.replace(/(?<=\p{Ll})(?=\p{Lu})/gu, ' ')} ${tool.description ?? ''}`);
    return asked.filter((word) => words.some((each) => isSameWord(word, each))).length;
  });
  const best = Math.max(...scores);
  if (best > 0) return tools.filter((_, index) => scores[index] === best);
  return tools.filter(isSearch).slice(0, 1);
}

/** Words of four letters or more are the same where one begins with the other, as `search` and `searches` do. */
function isSameWord(one: string, other: string): boolean {
  if (Math.min(one.length, other.length) < 4) return one === other;
  return one.startsWith(other) || other.startsWith(one);
}

function isSearch({ input_schema: schema }: RequestTool): boolean {
  const required = isObject(schema) && Array.isArray(schema['required']) ? (schema['required'] as unknown[]) : [];
  return required.length === 1 && takesQuestion.test(String(required[0]));
}
