/**
 * tRPC's own SSE link, with the input in the body of a POST: a URL ends at 16 KB, and stands in access logs. One request
 * for each attempt; whoever wants another one starts another attempt (reconnect-link.ts), with a new cursor.
 */
import { httpSubscriptionLink, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { EventSource } from 'eventsource';
import { attemptOf } from './attempt.ts';
import { LlmClientError } from './error.ts';
import type { Fetch } from './service-fetch.ts';
import type { Transformer } from './transformer.ts';

export interface SseLinkOptions {
  readonly url: string;
  readonly fetch: Fetch;
  readonly transformer: Transformer;
}

export function sseLink({ url, fetch, transformer }: SseLinkOptions): TRPCLink<AnyTRPCRouter> {
  const stock = httpSubscriptionLink<AnyTRPCRouter, typeof EventSource>({
    url,
    transformer,
    EventSource,
    eventSourceOptions: ({ op }) => {
      const attempt = attemptOf(op);
      return {
        fetch: async (target, init) => {
          // The stock link reconnects where a connection has gone quiet, and tells it then; its cursor isn't ours.
          if (attempt.requested) throw new DOMException('An attempt is one request', 'AbortError');
          attempt.requested = true;
          try {
            return await fetch(String(target), {
              ...(init as RequestInit),
              method: 'POST',
              headers: { ...init.headers, 'content-type': 'application/json' },
              body: attempt.body,
            });
          } catch (error) {
            // EventSource would pass on no more than a text.
            if (error instanceof LlmClientError) attempt.failure = error;
            throw error;
          }
        },
      };
    },
  });
  return (runtime) => {
    const link = stock(runtime);
    // What the stock link doesn't see it can't put into the URL.
    return ({ op, next }) => link({ op: { ...op, input: undefined }, next });
  };
}
