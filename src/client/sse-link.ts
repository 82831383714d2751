/**
 * Subscriptions over SSE, by `fetch`: the input goes in the body of a POST, since a URL ends at 16 KB and stands in access
 * logs. One attempt is one request. Every end that is not `return` and not of this client's making is a lost connection,
 * whatever its error is called; who wants another one starts another attempt (course.ts), with a new cursor.
 *
 * To tRPC's client it looks like the stock `httpSubscriptionLink` (docs/decisions/own-sse-link.md).
 */
import { TRPCClientError, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable } from '@trpc/server/observable';
import type { EventSourceMessage } from 'eventsource-parser';
import { attemptOf } from './attempt-context.ts';
import { LlmClientError } from './error.ts';
import { readEvents, type EventStream } from './event-stream.ts';
import type { Fetch } from './service-fetch.ts';
import { Silence } from './silence.ts';
import type { Transformer } from './transformer.ts';

export interface SseLinkOptions {
  /** Of the endpoint; a query in it is kept. */
  readonly url: string;
  readonly fetch: Fetch;
  readonly transformer: Transformer;
}

export function sseLink({ url, fetch, transformer }: SseLinkOptions): TRPCLink<AnyTRPCRouter> {
  const [base, query] = url.split(/\?(.*)/s);
  return () =>
    ({ op }) =>
      observable((observer) => {
        const attempt = attemptOf(op);
        const controller = new AbortController();
        let stream: EventStream | undefined;
        let left = false;

        const silence = new Silence({
          onSilent: (ms) => fail(new LlmClientError('unreachable', `Nothing came from the service for ${ms} ms`)),
        });
        attempt.look = () => silence.look();

        const leave = () => {
          left = true;
          silence.stop();
          op.signal?.removeEventListener('abort', complete);
          controller.abort();
          // A `fetch` of the app's own may not heed the signal.
          stream?.cancel();
        };
        const fail = (thrown: unknown) => {
          if (left) return;
          leave();
          observer.error(TRPCClientError.from(thrown as Error));
        };
        const complete = () => {
          if (left) return;
          leave();
          observer.next({ result: { type: 'stopped' } });
          observer.next({ result: { type: 'state', state: 'idle', error: null } });
          observer.complete();
        };

        const take = ({ event, id, data }: EventSourceMessage) => {
          if (left) return;
          switch (event) {
            case undefined: {
              const value = transformer.deserialize(JSON.parse(data) as never);
              return observer.next({ result: id ? { id, data: { id, data: value } } : { data: value } });
            }
            case 'connected': {
              const { reconnectAfterInactivityMs, graceMs } = JSON.parse(data) as Connected;
              attempt.silenceMs = reconnectAfterInactivityMs;
              attempt.graceMs = graceMs === null ? Infinity : graceMs;
              if (reconnectAfterInactivityMs) silence.watch(reconnectAfterInactivityMs);
              observer.next({ result: { type: 'started' } });
              return observer.next({ result: { type: 'state', state: 'pending', error: null } });
            }
            case 'serialized-error':
              return fail(TRPCClientError.from({ error: transformer.deserialize(JSON.parse(data) as never) as never }));
            case 'return':
              return complete();
          }
        };

        async function request(): Promise<void> {
          const response = await fetch(`${base!.replace(/\/$/, '')}/${op.path}${query ? `?${query}` : ''}`, {
            method: 'POST',
            headers: { accept: 'text/event-stream', 'content-type': 'application/json' },
            body: attempt.body,
            signal: controller.signal,
          });
          stream = readEvents(response, { onBytes: () => silence.heard(), onEvent: take });
          if (left) stream.cancel();
          await stream.done.catch((cause: unknown) => {
            throw new LlmClientError('unreachable', 'The connection to the service was lost', { cause });
          });
          throw new LlmClientError('unreachable', 'The connection ended before the answer did');
        }

        observer.next({ result: { type: 'state', state: 'connecting', error: null } });
        op.signal?.addEventListener('abort', complete);
        if (op.signal?.aborted) complete();
        else request().catch(fail);
        return leave;
      });
}

/** What the service says of a connection. A host's own server may say none of it. */
interface Connected {
  /** The longest silence of a connection that lives. */
  readonly reconnectAfterInactivityMs?: number;
  /** For how long each answer goes on without a viewer, at the least; null where none is ever cancelled. */
  readonly graceMs?: number | null;
}
