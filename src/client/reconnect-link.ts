/**
 * Keeps subscriptions and repeatable calls going over lost connections, each as a course of attempts (course.ts). Each
 * attempt is one run through the links below, about which it knows nothing.
 */
import type { Operation, TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable } from '@trpc/server/observable';
import { Course } from './course.ts';
import type { LlmClientError } from './error.ts';
import type { Room } from './room.ts';
import type { Transformer } from './transformer.ts';
import type { UnderWay } from './under-way.ts';

/** Bounds on reconnecting. */
export interface ReconnectLimits {
  /**
   * How many attempts in a row may fail without an event before `unreachable` is thrown, including the first one; 10 by
   * default. Attempts while the browser is offline don't count. The count starts again when the browser is back.
   */
  readonly attemptsMax: number;
  /**
   * The wait before the second attempt, in milliseconds; 250 by default. It doubles before each further attempt, and
   * each wait is shortened by up to a half at random.
   */
  readonly delayMs: number;
  /** The longest wait, in milliseconds; 10,000 by default. */
  readonly delayMsMax: number;
  /**
   * How long an attempt waits for the service's first sign of life, in milliseconds; 30,000 by default. Where an answer
   * is resumed, the first attempts wait only as long as the service has announced that a connection may be silent.
   */
  readonly connectMs: number;
}

export const defaultReconnectLimits: ReconnectLimits = {
  attemptsMax: 10,
  delayMs: 250,
  delayMsMax: 10_000,
  connectMs: 30_000,
};

/** A connection that failed, and will be tried again. */
export interface Reconnect {
  /** Why it failed. */
  readonly error: LlmClientError;
  /** How many attempts in a row have failed, since the last event or since the browser was back. */
  readonly failures: number;
  /**
   * The wait before the next attempt, in milliseconds. It ends early when the browser is online again or the page is
   * shown again, unless the service asked for it.
   */
  readonly delayMs: number;
  /** Whether the browser reports that it has no network. */
  readonly offline: boolean;
}

export interface ReconnectLinkOptions {
  readonly limits: ReconnectLimits;
  readonly transformer: Transformer;
  /** The largest input, in bytes of JSON. */
  readonly inputBytesMax: number;
  /** Whether the token can be renewed by asking for it again. */
  readonly renewable: boolean;
  /** Called when the next attempt must not use the same connection. */
  readonly retire: () => void;
  readonly onReconnect: ((reconnect: Reconnect) => void) | undefined;
  readonly underWay: UnderWay;
  /** Makes room for an urgent call; undefined where subscriptions take no connection that a call needs. */
  readonly room: Room | undefined;
}

/**
 * Calls that may be made twice. Of two `llm.resolve` the service takes the first, and refuses the second as a `conflict`. Other calls
 * of a host's router are passed on without retries.
 */
const repeatableCalls = new Set(['llm.configs', 'llm.generation', 'llm.generations', 'llm.cancel', 'llm.resolve']);

export function reconnectLink(options: ReconnectLinkOptions): TRPCLink<AnyTRPCRouter> {
  return () =>
    ({ op, next }) => {
      if (op.type !== 'subscription' && !repeatableCalls.has(op.path)) return next(op);
      return observable((observer) => {
        const course = new Course(op, next, observer, options);
        const release = claimRoom(op, options.room);
        course.begin();
        return () => {
          course.end();
          release?.();
        };
      });
    };
}

/** Streams may hold all connections for as long as a generation waits for this very call. */
function claimRoom({ path, input }: Operation, room: Room | undefined): (() => void) | undefined {
  if (path === 'llm.cancel')
    return room?.claim((input as { readonly generationId?: string } | undefined)?.generationId);
  // The stream of the generation that is resolved is as good as any other: it goes on afterwards.
  return path === 'llm.resolve' ? room?.claim(undefined) : undefined;
}
