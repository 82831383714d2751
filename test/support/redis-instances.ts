/** Instances that share a Redis, without the service around them, and viewers of their logs. Tests pause and kill them. */
import type { LlmEvent } from '../../src/protocol.ts';
import type { RedisStreamLogs } from '../../src/stream-log/redis/redis-logs.ts';
import type { GenerationKey, LogBatch, Producer, StreamLog } from '../../src/stream-log/stream-log.ts';
import { gatedConnection, type GatedConnection } from './gated-connection.ts';
import { nobody } from './log-events.ts';
import type { TestRedis } from './redis.ts';
import { redisLogs } from './stream-logs.ts';

/** An instance whose process can be stopped for a while, or killed. */
export interface Instance extends Pick<GatedConnection, 'pause' | 'resume' | 'around'>, AsyncDisposable {
  readonly logs: RedisStreamLogs;
  /** Cuts it off from Redis for good, as `kill -9` does. */
  kill(): void;
}

export function startInstance(
  redis: Pick<TestRedis, 'url'>,
  prefix: string,
  options: Parameters<typeof redisLogs>[2] = {},
): Instance {
  const { connect, pause, resume, cut, around } = gatedConnection();
  const logs = redisLogs(redis, prefix, { connect, ...options });
  return {
    logs,
    pause,
    resume,
    around,
    kill: cut,
    async [Symbol.asyncDispose]() {
      resume();
      await logs[Symbol.asyncDispose]();
    },
  };
}

/** A viewer that has everything it is given. */
export class Viewer {
  readonly batches: LogBatch[] = [];
  /** Settles when its log has ended, or it was moved. */
  readonly finished: Promise<void>;
  readonly #waiting = new Set<() => void>();

  constructor(log: StreamLog, after = -1) {
    this.finished = log.read(after, new AbortController().signal).then((reader) =>
      reader.pipe((batch) => {
        this.batches.push(batch);
        for (const check of this.#waiting) check();
        return undefined;
      }),
    );
    this.finished.catch(() => {});
  }

  get text(): string {
    return this.batches
      .flat()
      .map(({ event }) => (event.type === 'text' ? event.text : ''))
      .join('');
  }

  get last(): LlmEvent | undefined {
    return this.batches.at(-1)?.at(-1)?.event;
  }

  /** How many terminal events it has seen. */
  get ends(): number {
    return this.batches.flat().filter(({ terminal }) => terminal).length;
  }

  async untilText(ending: string): Promise<void> {
    await new Promise<void>((resolve) => {
      const check = () => {
        if (!this.text.endsWith(ending)) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
  }
}

/** The log, which there must be. */
export async function found(logs: RedisStreamLogs, of: GenerationKey): Promise<StreamLog> {
  const log = await logs.find(of);
  if (!log) throw new Error('no such log');
  return log;
}

/** Settles when the producer is asked to stop. */
export function stoppable(): { readonly producer: Producer; readonly stopped: Promise<void> } {
  let stop = () => {};
  const stopped = new Promise<void>((resolve) => (stop = resolve));
  return { producer: { ...nobody, cancel: () => stop() }, stopped };
}
