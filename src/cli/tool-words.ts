/** Calls of tools, and their results, as lines for a person at a terminal. */
import type { ToolCallEvent, ToolResultEvent } from '../protocol.ts';
import { withoutControls } from './host.ts';

/** Longer inputs and outputs are cut: `--json` prints them whole. */
const jsonCharsMax = 500;

export function callInWords({ name, input }: ToolCallEvent): string {
  return withoutControls(`→ ${name} ${inOneLine(input)}`);
}

export function resultInWords(event: ToolResultEvent): string {
  const { name } = event;
  if (!event.ok) return withoutControls(`← ${name} ${event.error.code}: ${shortened(event.error.message)}`);
  return withoutControls(event.output === undefined ? `← ${name} done` : `← ${name} ${inOneLine(event.output)}`);
}

function inOneLine(value: unknown): string {
  return shortened(JSON.stringify(value) ?? '');
}

function shortened(text: string): string {
  return text.length > jsonCharsMax ? `${text.slice(0, jsonCharsMax)}…` : text;
}
