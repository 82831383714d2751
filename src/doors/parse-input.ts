/** Judges an input by its schema, for every door alike. */
import type { z } from 'zod';
import { LlmError } from '../errors.ts';

/**
 * The input as its schema makes it.
 *
 * @param name What the value is called in the request; a refusal names it in place of the path within the value.
 * @throws LlmError `invalid_input`, with an issue for each thing that is wrong.
 */
export function parseInput<T>(schema: z.ZodType<T>, value: unknown, name?: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const refusal = LlmError.from(parsed.error);
  if (name === undefined || !refusal.issues) throw refusal;
  throw LlmError.invalidInput(refusal.issues.map(({ message }) => ({ path: name, message })));
}
