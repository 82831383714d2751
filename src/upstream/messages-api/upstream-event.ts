/** The events of the API's stream: which there are, and their data as JSON. */

/** The fields of upstream's events. Each is checked before it is used. */
export interface UpstreamEvent {
  readonly type?: unknown;
  readonly message?: unknown;
  readonly index?: unknown;
  readonly content_block?: unknown;
  readonly delta?: unknown;
  readonly usage?: unknown;
  readonly context_management?: unknown;
}

/** The events of the API's stream that are part of a message. */
export const messageEvents = new Set([
  'content_block_delta',
  'content_block_start',
  'content_block_stop',
  'message_start',
  'message_delta',
  'message_stop',
]);
/** Event names that say nothing about the event's kind. */
export const anonymousNames = new Set(['', 'message', 'data']);

/** Undefined where the data is no JSON object. */
export function parseEvent(data: string): UpstreamEvent | undefined {
  const event = parseJson(data);
  return isRecord(event) ? event : undefined;
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The error is dropped, since its message quotes the answer.
    return undefined;
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
