/** Reads from a request which event its client saw last. Knows nothing of the form of an event id. */
import type { IncomingMessage } from 'node:http';

/**
 * The last event id of a request. A browser's EventSource sends it as a header. Clients that can't set headers put it in the URL
 * (event-source-polyfill writes `?lastEventId=`, others write `last_event_id` or `Last-Event-ID`). The header outranks the URL: an
 * EventSource reconnects to the URL that it was made with, whose id is older by then. An empty id counts as absent.
 */
export function lastEventIdOf({ headers, url = '' }: Pick<IncomingMessage, 'headers' | 'url'>): string | undefined {
  const header = headers['last-event-id'];
  const inHeader = Array.isArray(header) ? header[0] : header;
  if (inHeader) return inHeader;
  const query = new URLSearchParams(/\?(.*)$/s.exec(url)?.[1] ?? '');
  const inUrl = [...query].filter(([name]) => name.replaceAll(/[_-]/g, '').toLowerCase() === 'lasteventid');
  return inUrl.at(-1)?.[1] || undefined;
}
