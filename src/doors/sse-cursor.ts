/** Where a client of an event stream says which event it saw last. Knows nothing of what an event's id looks like. */
import type { IncomingMessage } from 'node:http';

/**
 * The last event id of a request: from the header, as a browser's EventSource sends it, or from the URL, as clients do that
 * can't set headers (event-source-polyfill asks again with `?lastEventId=`, others with `last_event_id` or `Last-Event-ID`).
 * The header outranks the URL, which is written once and may be older. Empty counts as absent.
 */
export function lastEventIdOf({ headers, url = '' }: Pick<IncomingMessage, 'headers' | 'url'>): string | undefined {
  const header = headers['last-event-id'];
  const inHeader = Array.isArray(header) ? header[0] : header;
  if (inHeader) return inHeader;
  const query = new URLSearchParams(/\?(.*)$/s.exec(url)?.[1] ?? '');
  const inUrl = [...query].filter(([name]) => name.replaceAll(/[_-]/g, '').toLowerCase() === 'lasteventid');
  return inUrl.at(-1)?.[1] || undefined;
}
