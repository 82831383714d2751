/** The answer to a request for structured output: an object that fits the schema, made of the question's words. */
import { isObject } from './fields.ts';
import { valueFor } from './schema-value.ts';
import type { MessagesBody } from './validation.ts';

/** The answer's text; undefined where the request doesn't ask for an object. */
export function outputText({ output_config: config }: MessagesBody, question: string): string | undefined {
  const format = isObject(config) ? config['format'] : undefined;
  return isObject(format) ? JSON.stringify(valueFor(format['schema'], { question }, { whole: true })) : undefined;
}
