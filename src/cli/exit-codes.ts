/** The exit codes of commands, what leads to each, and the message on stderr. Knows no command. */
import { CommanderError } from 'commander';
import type { LlmClientErrorCode } from '../client.ts';
import { ProblemsError } from '../settings/problems.ts';

export const exitCodes = { success: 0, failure: 1, usage: 2, auth: 3, limited: 4, interrupted: 130 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

const { failure, usage, auth, limited } = exitCodes;

/** The exit code for a refusal, and for a generation that ended as `error`. */
export const exitCodeOf: Readonly<Record<LlmClientErrorCode, ExitCode>> = {
  invalid_input: usage,
  unauthorized: auth,
  forbidden: auth,
  config_not_found: usage,
  generation_not_found: failure,
  conflict: failure,
  too_large: usage,
  rate_limited: limited,
  at_capacity: limited,
  shutting_down: limited,
  upstream_auth: auth,
  upstream_invalid_request: failure,
  upstream_rate_limited: limited,
  upstream_overloaded: limited,
  upstream_unreachable: failure,
  upstream_timeout: failure,
  upstream_truncated: failure,
  upstream_error: failure,
  log_limit: failure,
  producer_lost: failure,
  internal: failure,
  unreachable: failure,
  cancelled: failure,
  output_invalid: failure,
  closed: failure,
  unsupported: failure,
};

/** A command was called with arguments or input that it can't use. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A service refused something; the message speaks of options of the command line. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly code: LlmClientErrorCode;

  constructor(code: LlmClientErrorCode, message: string, options: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The exit code for an error that a command threw, and the message; no message where commander has printed one. */
export function explain(thrown: unknown): { readonly code: ExitCode; readonly message?: string } {
  // commander prints its own messages, and throws for --help and --version too.
  if (thrown instanceof CommanderError) return { code: thrown.exitCode === 0 ? exitCodes.success : usage };
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (isCoded(thrown)) return { code: exitCodeOf[thrown.code], message };
  return { code: thrown instanceof ProblemsError || thrown instanceof UsageError ? usage : failure, message };
}

/** Whether it is an LlmError or LlmClientError. Judged by the code, since the classes would make every command load both modules. */
export function isCoded(thrown: unknown): thrown is Error & { readonly code: LlmClientErrorCode } {
  const code = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' && Object.hasOwn(exitCodeOf, code);
}
