/**
 * Translates messages of a service into words of the command line. A service speaks of its headers, fields and settings; a
 * person at a terminal has options and environment variables, and the service may be somebody else's.
 */
import type { LlmClientErrorCode } from '../client.ts';
import type { InputIssue, TerminalEvent } from '../protocol.ts';
import { isCoded, RefusedError } from './exit-codes.ts';
import type { RemoteOptions } from './options.ts';

/** An LlmError or an LlmClientError. */
interface Coded extends Error {
  readonly code: LlmClientErrorCode;
  readonly retryAfterMs?: number | undefined;
  readonly issues?: readonly InputIssue[] | undefined;
}

/**
 * Returns what `ask` returns.
 *
 * @throws RefusedError for a refusal, whose message speaks of these options. Other errors are thrown unchanged.
 */
export async function asked<Answer>(options: RemoteOptions, ask: () => Promise<Answer>): Promise<Answer> {
  try {
    return await ask();
  } catch (thrown) {
    if (!isCoded(thrown)) throw thrown;
    throw new RefusedError(thrown.code, refusalInWords(thrown, options), { cause: thrown });
  }
}

function refusalInWords(refusal: Coded, { url, token }: RemoteOptions): string {
  const { code, message, issues = [] } = refusal;
  const there = `the service at ${url}`;
  switch (code) {
    case 'unauthorized':
      return token === undefined
        ? `${there} requires a key: --token @FILE reads it from a file`
        : `${there} doesn't know the key that --token gives`;
    case 'forbidden':
      return `${there} refuses this: ${message}`;
    case 'unreachable':
      // The hint is put before the number of attempts, which stands in brackets at the end.
      return message.replace(/(?= \(\d+ attempts\)$|$)/, '; `llm-service serve` starts a service, --url names another');
    case 'invalid_input':
      if (message.startsWith('No such route'))
        return `${url} has no llm-service; --url takes its address without a path`;
      return issues.length === 0 ? message : issues.map(issueInWords).join('; ');
    case 'generation_not_found':
      return `${message}, at ${url} and for this key`;
    default:
      return `${message}${waitInWords(refusal.retryAfterMs)}`;
  }
}

function issueInWords({ path, message }: InputIssue): string {
  const variable = /^variables\.(.+)$/.exec(path)?.[1];
  const option = variable === undefined ? '' : ` (--var ${variable}=…)`;
  return path === '' ? message : `${path}: ${message}${option}`;
}

type ErrorEvent = Extract<TerminalEvent, { type: 'error' }>;

/** Why an answer failed, and what can be done. */
export function failureInWords({ code, message, retryable, retryAfterMs }: ErrorEvent, { url }: RemoteOptions): string {
  const hint = url === undefined ? localHints[code] : remoteHints[code];
  const again = !retryable ? '' : retryAfterMs === undefined ? ' (trying again can help)' : waitInWords(retryAfterMs);
  return `${code}: ${message}${hint === undefined ? '' : `; ${hint}`}${again}`;
}

type Hints = { readonly [Code in ErrorEvent['code']]?: string };

const localHints: Hints = {
  upstream_auth: 'its key is in ANTHROPIC_API_KEY, or in the variable that the config names as api_key_env',
  upstream_invalid_request: '`llm-service config check` warns of what models refuse',
  upstream_unreachable: 'the network, ANTHROPIC_BASE_URL or the config’s base_url may be the reason',
};

const remoteHints: Hints = {
  upstream_auth: 'that is the key of the service, not yours: only its operator can change it',
  upstream_invalid_request: 'the log of the service has the reason',
};

function waitInWords(retryAfterMs: number | undefined): string {
  return retryAfterMs === undefined ? '' : ` (try again in ${Math.ceil(retryAfterMs / 1_000)} s)`;
}

/** Stop reasons of a whole answer. */
const wholeReasons: ReadonlySet<string | null> = new Set(['end_turn', 'stop_sequence']);

const cutReasons: Readonly<Record<string, string>> = {
  refusal: 'the model refused to answer',
  max_tokens: 'the answer is cut off: it reached max_tokens of its config',
  model_context_window_exceeded: 'the answer is cut off: the conversation fills the context window of the model',
  pause_turn: 'the answer is not whole: the model paused and could continue',
  tool_use: 'the answer is not whole: the model asks for a tool that has no result',
};

type DoneEvent = Extract<TerminalEvent, { type: 'done' }>;

/** Why an answer that ended as `done` is not whole, or not what its config promises; undefined if it is whole. */
export function cutInWords({ stopReason, object, issues = [] }: DoneEvent): string | undefined {
  if (object === 'invalid') {
    const where = issues.length === 0 ? '' : `: ${issues.map(issueInWords).join('; ')}`;
    return `the answer does not fit the output of its config${where}`;
  }
  if (wholeReasons.has(stopReason)) return undefined;
  if (stopReason === null) return 'the answer may not be whole: upstream gave no stop reason';
  const known = Object.hasOwn(cutReasons, stopReason) ? cutReasons[stopReason]! : 'the answer may not be whole';
  return `${known} (${stopReason})`;
}

/** Why the model called no more tools, where a limit of its config was the reason. */
export function limitInWords({ limit }: DoneEvent): string | undefined {
  return limit === undefined
    ? undefined
    : `no more tools were called: the answer reached ${limits[limit]} of its config`;
}

const limits = { steps: 'steps.max', cost: 'steps.cost_usd' };
