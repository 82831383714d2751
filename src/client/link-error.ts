/** An LlmClientError in the form in which tRPC's own clients throw errors. */
import { TRPCClientError } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import type { LlmClientError } from './error.ts';

/** The errors that links pass on. */
export type LinkError = TRPCClientError<AnyTRPCRouter>;

/** tRPC's number for UNPROCESSABLE_CONTENT. */
const unprocessableNumber = -32022;

/** The error has the same `data.llm` as one with which the service refuses a request. */
export function linkErrorOf(error: LlmClientError): LinkError {
  const { code, message, retryable, retryAfterMs, issues } = error;
  const data = { llm: { code, message, retryable, retryAfterMs, issues } };
  return new TRPCClientError(message, {
    result: { error: { message, code: unprocessableNumber, data } },
    cause: error,
  });
}
