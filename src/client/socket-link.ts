/**
 * Subscriptions over the WebSocket that the client shares, each by tRPC's own WebSocket link. One attempt ends with its
 * socket: when the socket is lost the link reports an error, and the course (course.ts) begins another attempt.
 */
import { TRPCClientError, wsLink, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable } from '@trpc/server/observable';
import { attemptOf, type AttemptContext } from './attempt-context.ts';
import { LlmClientError } from './error.ts';
import type { SharedSocket, SharedSockets, SocketError } from './shared-sockets.ts';
import type { Transformer } from './transformer.ts';

export function socketLink(sockets: SharedSockets, transformer: Transformer): TRPCLink<AnyTRPCRouter> {
  return (runtime) =>
    ({ op, next }) =>
      observable((observer) => {
        let shared: SharedSocket;
        try {
          shared = sockets.acquire();
        } catch (error) {
          return observer.error(TRPCClientError.from(error as Error));
        }
        const attempt = attemptOf(op);
        attempt.look = () => shared.silence.look();
        shared.bodyBytes = Math.max(shared.bodyBytes, attempt.bodyBytes);
        const onLost = (error: SocketError) => {
          const failure = TRPCClientError.from(failureOf(error, attempt, shared));
          observer.next({ result: { type: 'state', state: 'connecting', error: failure } });
        };
        sockets.enter(shared, onLost);
        const link = wsLink<AnyTRPCRouter>({ client: shared.client, transformer })(runtime);
        const subscription = link({ op, next }).subscribe({
          ...observer,
          next: (envelope) => {
            noteAnnouncement(envelope.result, attempt, shared);
            observer.next(envelope);
          },
        });
        return () => {
          subscription.unsubscribe();
          sockets.leave(shared, onLost);
        };
      });
}

/**
 * The failure of one attempt on a socket that was lost. The service closes a socket with 1009 for a message that is too
 * large, and names no request. The largest request was too large for certain; the other ones may have been small
 * enough, and are tried again.
 */
function failureOf(error: SocketError, attempt: AttemptContext, shared: SharedSocket): LlmClientError {
  const failure = LlmClientError.from(error);
  if (failure.code !== 'too_large' || attempt.bodyBytes >= shared.bodyBytes) return failure;
  return new LlmClientError('unreachable', 'The service closed the connection because of another request', {
    cause: failure,
  });
}

/**
 * A subscription's `started` announces how long its connection may be silent. A host's own server may announce nothing.
 */
function noteAnnouncement(result: object, attempt: AttemptContext, { silence }: SharedSocket): void {
  const { reconnectAfterInactivityMs } = result as { readonly reconnectAfterInactivityMs?: number };
  if (reconnectAfterInactivityMs === undefined) return;
  attempt.silenceMs = reconnectAfterInactivityMs;
  silence.watch(reconnectAfterInactivityMs);
}
