/**
 * Reads server-sent events from the body of a response. It uses a reader, since Safari can't iterate a stream. Knows
 * nothing of what the events mean. https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { LlmClientError } from './error.ts';

export interface EventStreamOptions {
  /** Called for each chunk of the body, also for one without an event. */
  readonly onBytes: () => void;
  /** Called for each event that has data. */
  readonly onEvent: (event: EventSourceMessage) => void;
}

export interface EventStream {
  /** Resolves at the end of the body. Rejects where reading fails. */
  readonly done: Promise<void>;
  /** Stops reading, and frees the connection. */
  cancel(): void;
}

/** The most characters of one event. The service's events are much smaller. */
const eventCharsMax = 64 * 1024 * 1024;

/**
 * Begins to read.
 *
 * @throws LlmClientError `unsupported` where the `fetch` of this runtime, or the one that the app passes, gives no
 *   readable body; `unreachable` where the response has no body.
 */
export function readEvents(response: Response, options: EventStreamOptions): EventStream {
  const body = bodyOf(response);
  const reader = body.getReader();
  return {
    done: pump(reader, options),
    // `cancel` rejects where the body has failed before, which `done` has reported.
    cancel: () => void reader.cancel().catch(() => {}),
  };
}

function bodyOf({ body }: Response): ReadableStream<Uint8Array> {
  if (body === null) throw new LlmClientError('unreachable', 'The response has no body');
  if (typeof (body as Partial<typeof body> | undefined)?.getReader !== 'function') {
    throw new LlmClientError(
      'unsupported',
      'The fetch of this runtime gives no body that can be read while it arrives: pass one that does as `fetch`, such as that of `expo/fetch`, or use the transport `ws`',
    );
  }
  if (typeof TextDecoder === 'undefined') {
    throw new LlmClientError('unsupported', 'This runtime has no TextDecoder, which SSE needs: load a polyfill of it');
  }
  if (body.locked) {
    throw new LlmClientError('unsupported', 'The `fetch` that this app passes reads the body of the response itself');
  }
  return body;
}

async function pump(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  { onBytes, onEvent }: EventStreamOptions,
): Promise<void> {
  const decoder = new TextDecoder();
  const parser = createParser({
    onEvent,
    maxBufferSize: eventCharsMax,
    onError: (error) => {
      // The other errors are unknown fields, which the standard says to ignore.
      if (error.type === 'max-buffer-size-exceeded') throw error;
    },
  });
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onBytes();
    parser.feed(decoder.decode(value, { stream: true }));
  }
}
