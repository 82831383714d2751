/**
 * Clients that ask one question after the other over every door, while a test does something to the instances that serve them. Each
 * question has an id of its own, so what a client asks again is the same generation.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { TRPCClientError } from '@trpc/client';
import { isTerminal, type ErrorData } from '../../src/protocol.ts';
import { doors, RestRefusal, textOf, type Door, type Seen } from './doors.ts';
import { ask } from './service.ts';

/** An answer as its client has got it, perhaps over several connections. */
export interface Answer {
  readonly door: string;
  readonly text: string;
  /** The type of its terminal event. */
  readonly end: string;
  /** How often its client had to ask, beside what stock clients do by themselves. */
  readonly attempts: number;
}

export interface SteadyLoad {
  /** Settles when as many answers as this have been read since now. */
  more(count: number): Promise<void>;
  /** Asks no more, and settles with all answers when they are whole. Rejects where one was refused for good. */
  stop(): Promise<readonly Answer[]>;
}

/** A client waits for so long before it asks again. */
const againMs = 50;

/** @param clients How many clients ask at once over each door. */
export function steadyLoad(url: string, clients: number): SteadyLoad {
  const answers: Answer[] = [];
  let asking = true;
  let wake = () => {};
  const each = async (door: Door) => {
    while (asking) {
      answers.push(await wholeAnswer(door, url));
      wake();
    }
  };
  const all = Promise.all(doors.flatMap((door) => Array.from({ length: clients }, () => each(door))));
  // Reported by whichever of the two is awaited.
  all.catch(() => wake());
  return {
    async more(count) {
      const until = answers.length + count;
      const enough = (async () => {
        while (answers.length < until) await new Promise<void>((resolve) => (wake = resolve));
      })();
      await Promise.race([enough, all]);
    },
    async stop() {
      asking = false;
      await all;
      return answers;
    },
  };
}

/** Asks, and goes on from the last event whenever the connection ends before the answer does. */
async function wholeAnswer(door: Door, url: string): Promise<Answer> {
  const request = ask('hi', { generationId: crypto.randomUUID() });
  const all: Seen[] = [];
  for (let attempts = 1; ; attempts += 1) {
    const lastEventId = all.at(-1)?.id;
    const view = door.stream(url, lastEventId === undefined ? request : { ...request, lastEventId });
    try {
      for await (const seen of view) all.push(seen);
    } catch (error) {
      const refusal = refusalIn(error);
      if (refusal && !refusal.retryable) throw error;
    }
    const last = all.at(-1)?.event;
    if (last && isTerminal(last)) return { door: door.name, text: textOf(all), end: last.type, attempts };
    await delay(againMs);
  }
}

/** Undefined where the connection was lost, or something between refused it. */
function refusalIn(error: unknown): ErrorData | undefined {
  if (error instanceof RestRefusal) return error.data;
  return error instanceof TRPCClientError ? (error.data as { llm?: ErrorData } | undefined)?.llm : undefined;
}
