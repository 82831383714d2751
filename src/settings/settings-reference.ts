/** The tables of variables as README shows them. `npm run fix` prints them, and test/docs.test.ts compares. */
import { limits, type Limit } from './limits.ts';
import { serviceVariables } from './service-variables.ts';
import { traceVariables } from './trace-variables.ts';
import { upstreamVariables } from './upstream-variables.ts';
import type { Variable } from './variable.ts';

/** The words for what a limit bounds where several instances share a Redis. */
const scopes: Readonly<Record<NonNullable<Limit['scope']>, string>> = {
  'all instances': 'Over all instances',
  'each instance': 'For each instance',
  'no effect': 'Without `REDIS_URL` only',
};

/** All variables as two Markdown tables: settings, then limits. */
export function settingsReference(): string {
  const variables = Object.values<Variable>({ ...serviceVariables, ...upstreamVariables, ...traceVariables });
  const settingRows = variables.map((variable) => [
    code(variable.name),
    typeof variable.default === 'string' || typeof variable.default === 'number' ? code(variable.default) : '',
    variable.meaning,
  ]);
  const limitRows = Object.values<Limit>(limits).map((limit) => [
    code(limit.name),
    limit.default === Infinity ? 'none' : `${code(limit.default)}${inWords(limit)}`,
    code(limit.min),
    limit.scope === undefined ? limit.meaning : `${limit.meaning}. *${scopes[limit.scope]}*`,
  ]);
  const settingTable = markdownTable(['Variable', 'Default', 'Meaning'], settingRows);
  return `${settingTable}\n${markdownTable(['Limit', 'Default', 'Least', 'Meaning'], limitRows)}`;
}

/** The text of limit-values.ts, not formatted yet: the limits as a type whose members say what they bound. */
export function limitValuesSource(): string {
  const members = Object.entries<Limit>(limits).map(([key, limit]) => {
    const defaultText = `Default: ${limit.default}${inWords(limit)}.`;
    return `${docComment(`${limit.meaning}. ${defaultText}`)}\nreadonly ${key}: number;`;
  });
  return `/** The type of the limits. \`npm run fix\` prints this file from limits.ts: change the table there. */

/** Bounds on what clients may cost. The end of a name says what is counted: bytes, characters, milliseconds (\`Ms\`) or things. */
export interface Limits {\n${members.join('\n')}\n}\n`;
}

const commentChars = 112;

/** A doc comment, on one line where it fits. */
export function docComment(words: string): string {
  if (words.length <= commentChars) return `/** ${words} */`;
  const lines = [''];
  for (const word of words.split(' ')) {
    if (`${lines.at(-1)} ${word}`.length > commentChars) lines.push('');
    lines.push(`${lines.pop()} ${word}`);
  }
  return ['/**', ...lines.map((line) => ` *${line}`), ' */'].join('\n');
}

export function code(value: string | number): string {
  return `\`${value}\``;
}

const roundUnits = [
  { end: '_BYTES_MAX', one: 2 ** 20, word: 'MiB' },
  { end: '_BYTES_MAX', one: 2 ** 10, word: 'KiB' },
  { end: '_MS', one: 3_600_000, word: 'h' },
  { end: '_MS', one: 60_000, word: 'min' },
  { end: '_MS', one: 1_000, word: 's' },
];

function inWords({ name, default: value }: Limit): string {
  const unit = roundUnits.find(({ end, one }) => name.endsWith(end) && value % one === 0);
  return unit === undefined ? '' : ` (${value / unit.one} ${unit.word})`;
}

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
  return [head, head.map(() => '---'), ...rows].map((row) => line(row)).join('');
}
