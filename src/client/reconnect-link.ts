/**
 * Keeps subscriptions and repeatable calls going through lost connections, each as a course of attempts (course.ts).
 * Below it the links make one attempt each; it knows not how.
 */
import type { TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable } from '@trpc/server/observable';
import { Course } from './course.ts';
import type { LlmClientError } from './error.ts';
import type { Room } from './room.ts';
import type { Transformer } from './transformer.ts';
import type { UnderWay } from './under-way.ts';

/** Bounds on coming back. */
export interface ReconnectLimits {
  /**
   * Attempts in a row without an event before `unreachable` is thrown; 10 by default, the first one included. Those
   * made while the browser says that it is offline don't count, and it counts anew when the browser is back.
   */
  readonly attemptsMax: number;
  /** Before the second attempt, doubled before each further one, less up to a half of it at random; 250 by default. */
  readonly delayMs: number;
  /** 10,000 by default. */
  readonly delayMsMax: number;
  /**
   * From the beginning of an attempt to the first sign of the service; 30,000 by default. Where an answer is resumed,
   * the silence that the service has announced is the limit at first.
   */
  readonly connectMs: number;
}

export const defaultReconnectLimits: ReconnectLimits = {
  attemptsMax: 10,
  delayMs: 250,
  delayMsMax: 10_000,
  connectMs: 30_000,
};

/** A connection that failed and will be tried again. */
export interface Reconnect {
  /** What went wrong. */
  readonly error: LlmClientError;
  /** Attempts in a row that have failed, since the last event or since the browser was back. */
  readonly failures: number;
  /**
   * Until the next one, at the latest: a browser that is online again, or a page that is looked at again, ends the
   * wait.
   */
  readonly delayMs: number;
  /** Whether the browser says that it has no network. */
  readonly offline: boolean;
}

export interface ReconnectLinkOptions {
  readonly limits: ReconnectLimits;
  readonly transformer: Transformer;
  /** Bytes of an input that a subscription can carry. */
  readonly inputBytesMax: number;
  /** Whether asking for the token again can give another one. */
  readonly renewable: boolean;
  /** Called where the next attempt must not use the connection of this one. */
  readonly retire: () => void;
  readonly onReconnect: ((reconnect: Reconnect) => void) | undefined;
  readonly underWay: UnderWay;
  /** Where subscriptions and calls share a browser's few connections: what lets a cancel through. */
  readonly room: Room | undefined;
}

/** Calls that may be made twice. What else there is in a host's router passes as it is. */
const repeatableCalls = new Set(['llm.configs', 'llm.generation', 'llm.generations', 'llm.cancel']);

export function reconnectLink(options: ReconnectLinkOptions): TRPCLink<AnyTRPCRouter> {
  return () =>
    ({ op, next }) => {
      if (op.type !== 'subscription' && !repeatableCalls.has(op.path)) return next(op);
      return observable((observer) => {
        const course = new Course(op, next, observer, options);
        const release = op.path === 'llm.cancel' ? options.room?.claim(op.input) : undefined;
        course.begin();
        return () => {
          course.end();
          release?.();
        };
      });
    };
}
