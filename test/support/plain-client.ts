/**
 * A plain HTTP client for the Messages API, for tests that look at the bytes on the wire. Each request has its own
 * connection.
 */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { createGunzip } from 'node:zlib';

export interface PlainResponse {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly message: IncomingMessage;
  /** The body, decoded if it was compressed. Resolves when it has ended or was cut off. */
  readonly text: Promise<string>;
  /** Whether it was cut off. */
  readonly cut: Promise<boolean>;
  /** Closes the connection. */
  leave(): void;
}

/** The body of a request for this answer. */
export const streaming = (content: string, more: object = {}) => ({
  model: 'claude-sonnet-5-5',
  max_tokens: 1_000_000,
  stream: true,
  messages: [{ role: 'user', content }],
  ...more,
});

/** Resolves when the headers have arrived. */
export async function post(
  url: string,
  body: unknown,
  { path = '/v1/messages', headers = {} }: { path?: string; headers?: OutgoingHttpHeaders } = {},
): Promise<PlainResponse> {
  const request = httpRequest(url + path, {
    method: 'POST',
    agent: false,
    headers: { 'anthropic-version': '2026-10-21', ...headers },
  });
  request.end(typeof body === 'string' ? body : JSON.stringify(body));
  const [message] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  const decoded = message.headers['content-encoding'] === 'gzip' ? message.pipe(createGunzip()) : message;
  decoded.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  message.on('error', () => {});
  const closed = new Promise((resolve) => decoded.once('close', resolve));
  return {
    status: message.statusCode!,
    headers: message.headers,
    message,
    text: closed.then(() => text),
    cut: closed.then(() => !message.complete),
    leave: () => message.destroy(),
  };
}

/** The fields of a Messages API event. */
export type EventData = Readonly<Record<string, unknown>> & { readonly type: string };

/** The objects of all `data:` lines. */
export function dataOf(text: string): EventData[] {
  return [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!) as EventData);
}
