/**
 * The body of a response as server-sent events. Reads with a reader, since Safari can't iterate a stream; knows nothing
 * of what the events mean. https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { LlmClientError } from './error.ts';

export interface EventStreamOptions {
  /** Called for each piece of the body, whatever it holds. */
  readonly onBytes: () => void;
  /** Called for each whole event that has data. */
  readonly onEvent: (event: EventSourceMessage) => void;
}

export interface EventStream {
  /** Settles when the body ends; rejects with whatever ended it. */
  readonly done: Promise<void>;
  /** Reads no more and gives the connection back. */
  cancel(): void;
}

/** One event; the service's own logs end far below. */
const eventCharsMax = 64 * 1024 * 1024;

/** @throws LlmClientError `unsupported` where this runtime, or the app's own `fetch`, gives no body to read. */
export function readEvents(response: Response, options: EventStreamOptions): EventStream {
  const body = bodyOf(response);
  const reader = body.getReader();
  return {
    done: pump(reader, options),
    // What a body says of being cancelled matters to nobody: it may have failed before.
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
    throw new LlmClientError(
      'unsupported',
      'The body of the response is being read by the `fetch` that this app passes',
    );
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
      // Fields that are unknown are left out, as the standard has it.
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
