/** The options that several commands share, and the parsing of options' values. A bad value throws commander's own error. */
import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { quote, suggestion } from '../settings/problems.ts';
import { faults, isFaultName, type FaultName, type TokensPerSecond } from '../simulator.ts';

export interface RemoteOptions {
  readonly url?: string;
  readonly token?: string;
}

export interface ShowOptions {
  readonly json?: boolean;
  readonly usage?: boolean;
}

/** Adds `--url` and `--token`. */
export function takesRemote(command: Command, urlDefault?: string): Command {
  const elsewhere = urlDefault === undefined ? ' instead of generating within this process' : '';
  return command
    .option('--url <url>', `ask the service at this URL${elsewhere}`, parseUrl, urlDefault)
    .option(
      '--token <key>',
      'the key for it; @FILE reads it from a file, so that it is not in the list of processes',
      parseToken,
    );
}

/** Adds `--json` and `--usage`. */
export function showsAnswer(command: Command): Command {
  return command
    .option('--json', 'print each event as a line of JSON')
    .option('-u, --usage', 'print tokens, cost and time to stderr');
}

function parseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if ((url?.protocol !== 'http:' && url?.protocol !== 'https:') || url.username !== '' || url.password !== '') {
    throw new InvalidArgumentError('Expected an http or https URL without credentials.');
  }
  return text;
}

function parseToken(text: string): string {
  if (!text.startsWith('@')) return text;
  try {
    return readFileSync(text.slice(1), 'utf8').trim();
  } catch {
    throw new InvalidArgumentError('Expected the name of a readable file after the @.');
  }
}

export function parseGenerationId(text: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text;
  const expected = 'Expected an id such as 3b241101-e2bb-4255-8caf-4136c566a962';
  throw new InvalidArgumentError(`${expected}: the generationId of the start event, which \`chat --json\` prints.`);
}

/** Adds one `--var name=value` to the variables before it. */
export function collectVariable(pair: string, variables: Readonly<Record<string, string>> = {}) {
  const at = pair.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Expected name=value.');
  return { ...variables, [pair.slice(0, at)]: pair.slice(at + 1) };
}

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
  };
}

export function parseFault(name: string): FaultName {
  if (isFaultName(name)) return name;
  const hint = suggestion(
    name,
    faults.map((fault) => fault.name),
  );
  throw new InvalidArgumentError(`Expected a fault that --help lists, found ${quote(name)}${hint}`);
}

export function parsePace(text: string): TokensPerSecond {
  if (text === 'unpaced') return text;
  const value = Number(text);
  if (value > 0 && value < Infinity) return value;
  throw new InvalidArgumentError('Expected a number over 0, or "unpaced".');
}

/** More processes than any machine has cores for. */
const workersMax = 512;

/** The number of workers, or `auto`: one for each core that this process may use. */
export function parseWorkers(text: string): number | 'auto' {
  return text === 'auto' ? text : wholeNumber(1, workersMax)(text);
}
