/**
 * What an attempt asks the service for: the operation's own input at first, and after an event only what follows that
 * event.
 */
import type { Operation } from '@trpc/client';
import { LlmClientError } from './error.ts';
import type { Transformer } from './transformer.ts';

/**
 * Subscriptions that can be left and resumed at any event. Any other subscription of a host's router may begin anew
 * when it is asked for again.
 */
const resumable = new Set(['llm.stream', 'llm.follow']);

export function isResumable({ path }: Operation): boolean {
  return resumable.has(path);
}

/** The operation that continues after an event. It does not send the conversation again, which the service has. */
export function resumed(op: Operation, lastEventId: string | undefined): Operation {
  if (lastEventId === undefined) return op;
  const input = op.input as { readonly generationId?: string } | undefined;
  if (op.path === 'llm.stream' && input?.generationId !== undefined) {
    return { ...op, path: 'llm.follow', input: { generationId: input.generationId, lastEventId } };
  }
  return { ...op, input: { ...input, lastEventId } };
}

/** The generation that a tracked event of tRPC's starts; undefined for every event but `start`. */
export function startedIn(tracked: unknown): string | undefined {
  const { data } = tracked as { readonly data?: { readonly type?: unknown; readonly generationId?: unknown } | null };
  return data?.type === 'start' && typeof data.generationId === 'string' ? data.generationId : undefined;
}

/**
 * The input as JSON, and its size in UTF-8.
 *
 * @throws LlmClientError `invalid_input` where it can't be written as JSON, `too_large` where it is over
 *   `inputBytesMax`.
 */
export function encode(
  input: unknown,
  { transformer, inputBytesMax }: { readonly transformer: Transformer; readonly inputBytesMax: number },
) {
  let body: string;
  try {
    // Undefined where there is no input and the transformer wraps nothing around it.
    const json: string | undefined = JSON.stringify(transformer.serialize(input));
    body = json ?? '';
  } catch (cause) {
    throw new LlmClientError('invalid_input', 'The input can not be written as JSON', { cause });
  }
  const bodyBytes = utf8Bytes(body);
  if (bodyBytes > inputBytesMax) {
    throw new LlmClientError('too_large', `The request is larger than ${inputBytesMax} bytes`);
  }
  return { body, bodyBytes };
}

/**
 * Counts by hand, since React Native may have no TextEncoder. `JSON.stringify` writes a lone surrogate as an escape, so
 * each surrogate here is one of a pair, which takes four bytes.
 */
function utf8Bytes(json: string): number {
  let bytes = json.length;
  for (let at = 0; at < json.length; at += 1) {
    const unit = json.charCodeAt(at);
    if (unit < 0x80) continue;
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}
