/** What a refused request carries: a code, a message, and the issues of its input. errors.ts has what follows from a code. */
import { z } from 'zod';

/** Every code that a client can meet, as a refusal or in an `error` event. */
export const errorCodes = [
  'invalid_input',
  'unauthorized',
  'forbidden',
  'config_not_found',
  'generation_not_found',
  'conflict',
  'too_large',
  'rate_limited',
  'at_capacity',
  'shutting_down',
  'upstream_auth',
  'upstream_invalid_request',
  'upstream_rate_limited',
  'upstream_overloaded',
  'upstream_unreachable',
  'upstream_timeout',
  'upstream_truncated',
  'upstream_error',
  'log_limit',
  'producer_lost',
  'internal',
] as const;
/** Why a request was refused, or why a generation failed. PROTOCOL.md has a line for each. */
export type ErrorCode = (typeof errorCodes)[number];

/** The schema of `InputIssue`. */
export const inputIssueSchema = z
  .object({
    path: z.string().describe('Where it is: `messages[0].role`, empty for the input itself.'),
    message: z.string().describe('What was expected there.'),
  })
  .meta({ id: 'InputIssue', description: 'One thing that is wrong with an input.' });
/** One thing that is wrong with an input. */
export interface InputIssue {
  /** Where it is, as JavaScript writes it: `messages[0].role`. Empty for the input as a whole. */
  readonly path: string;
  /** What was expected there. */
  readonly message: string;
}

/** The schema of `ErrorData`. */
export const errorDataSchema = z
  .object({
    code: z.enum(errorCodes),
    message: z.string(),
    retryable: z.boolean().describe('Whether the same request can succeed later.'),
    retryAfterMs: z.number().optional().describe('How long to wait before that, in milliseconds.'),
    issues: z.array(inputIssueSchema).readonly().optional().describe('What is wrong with the input.'),
    requestId: z.string().optional().describe('The id under which the refusal is logged.'),
  })
  .meta({ id: 'ErrorData' });
/** What a refused request carries: `error.data.llm` over tRPC, `error` over REST. */
export interface ErrorData {
  /** Programs decide by this field; `message` is for people. */
  readonly code: ErrorCode;
  /** What people read. Holds no prompt, key or stack. */
  readonly message: string;
  /** Whether the same request can succeed later. */
  readonly retryable: boolean;
  /** How long to wait before that, in milliseconds; absent where the service can't say. */
  readonly retryAfterMs?: number | undefined;
  /** What is wrong with the input: the first twenty issues, and the number of the others. Absent for every code but `invalid_input`, and `conflict` of `llm.resolve`. */
  readonly issues?: readonly InputIssue[] | undefined;
  /** The id under which the refusal is logged. Over tRPC it stands beside, as `error.data.requestId`. */
  readonly requestId?: string | undefined;
}

/** The issues that zod found, with paths as a JavaScript reader writes them: `messages[0].content`. */
export function inputIssues(error: z.core.$ZodError): InputIssue[] {
  return error.issues.flatMap((issue) => flattenIssue(issue, []));
}

/** A refusal lists no more issues than this, and repeats no more characters of what was sent in each. */
const issuesMax = 20;
const issueCharsMax = 300;

/** The first issues, each cut to a bounded length, and how many others there are. */
export function boundedIssues(issues: readonly InputIssue[]): readonly InputIssue[] {
  const first = issues.slice(0, issuesMax).map(({ path, message }) => ({ path: cut(path), message: cut(message) }));
  const others = issues.length - first.length;
  return others === 0 ? first : [...first, { path: '', message: `and ${others} more issues` }];
}

function cut(text: string): string {
  return text.length > issueCharsMax ? `${text.slice(0, issueCharsMax)}…` : text;
}

function flattenIssue(issue: z.core.$ZodIssue, parent: PropertyKey[]): InputIssue[] {
  const path = [...parent, ...issue.path];
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // The branch whose issues lie deepest is most likely the one that the client meant: content given as a list is judged as a list.
    const depth = (issues: z.core.$ZodIssue[]) => issues.reduce((most, each) => Math.max(most, each.path.length), 0);
    const best = issue.errors.toSorted((a, b) => depth(b) - depth(a))[0]!;
    if (depth(best) > 0) return best.flatMap((each) => flattenIssue(each, path));
    const expected = issue.errors.flatMap((branch) =>
      branch.map((each) => ('expected' in each ? each.expected : each.code)),
    );
    return [{ path: formatPath(path), message: `Invalid input: expected ${expected.join(' or ')}` }];
  }
  return [{ path: formatPath(path), message: issue.message }];
}

/** `['messages', 0, 'role']` as `messages[0].role`. */
export function formatPath(path: readonly PropertyKey[]): string {
  let formatted = '';
  for (const part of path) {
    if (typeof part === 'number') formatted += `[${part}]`;
    else if (/^[A-Za-z_$][\w$]*$/.test(String(part))) formatted += formatted === '' ? String(part) : `.${String(part)}`;
    else formatted += `[${JSON.stringify(String(part))}]`;
  }
  return formatted;
}
