/** A log that another instance writes, or that has ended, as Redis has it. */
import { LlmError } from '../../errors.ts';
import type { LlmEvent, StartEvent, TerminalEvent } from '../../protocol.ts';
import {
  generationNotFound,
  readToEnd,
  type GenerationKey,
  type GenerationRecord,
  type LogReader,
  type LogStatus,
  type StreamLog,
} from '../stream-log.ts';
import { pageElements, parse, terminalOf } from './elements.ts';
import { Follow } from './follow.ts';
import type { Retry } from './retry.ts';
import { CANCEL } from './scripts/cancel.ts';
import type { FoundLog, Shard } from './shard.ts';

export class FollowedLog implements StreamLog {
  readonly record: GenerationRecord;
  readonly #shard: Shard;
  readonly #k: string;
  readonly #start: StartEvent;
  readonly #owner: string;
  readonly #retry: Retry;

  /** @param found What READ has found of it. */
  constructor(shard: Shard, k: string, { caller, generationId }: GenerationKey, found: FoundLog, retry: Retry) {
    this.#shard = shard;
    this.#k = k;
    this.#start = JSON.parse(found.start) as StartEvent;
    this.#owner = found.owner;
    this.#retry = retry;
    const { config, startedAt } = this.#start;
    this.record = { caller, generationId, config, startedAt, requestHash: hexOf(found.requestHash) };
  }

  async status(): Promise<LogStatus> {
    const found = await this.#read(-1, -1);
    return statusOf(found, terminalOf(found.elements.map(parse)));
  }

  async snapshot(): Promise<LogStatus & { readonly text: string }> {
    let text = '';
    for (let from = 0; ; from += pageElements) {
      const found = await this.#read(from, from + pageElements - 1);
      const events = found.elements.map(parse);
      text += textOf(events);
      if (from + events.length >= found.length) return { ...statusOf(found, terminalOf(events)), text };
    }
  }

  /** Only its producer may append, on another instance. */
  append(): Promise<void> {
    return Promise.reject(new Error('append to a log that another instance writes'));
  }

  async read(after: number, signal: AbortSignal, onClose?: () => void): Promise<LogReader> {
    const { followed } = this.#shard;
    let follow = followed.get(this.#k);
    if (!follow) {
      follow = new Follow(this.#shard, this.#k, this.record.generationId, this.#start, this.#owner);
      followed.set(this.#k, follow);
    }
    return follow.read(after, signal, onClose);
  }

  /** Asks anew at each beat: the message to the owner may be lost. */
  async cancel(): Promise<TerminalEvent> {
    const ask = () => {
      const { keys, connection } = this.#shard;
      const args = [this.#owner, this.#k, keys.inboxes];
      connection.run(CANCEL, [keys.live(this.#owner)], args).catch(() => undefined);
    };
    const asking = setInterval(ask, this.#shard.timing.beatMs);
    ask();
    try {
      return await readToEnd(this);
    } finally {
      clearInterval(asking);
    }
  }

  /** Its producer, who could ask, is on another instance. */
  async recountViewers(): Promise<void> {}

  async #read(from: number, to: number): Promise<FoundLog> {
    const found = await this.#retry(() => this.#shard.read(this.#k, from, to));
    if (typeof found === 'string') throw generationNotFound();
    return found;
  }
}

/** Shortens a request's SHA-256 from 64 hex digits to 43 characters. Redis keeps one with each log. */
export function storedHash(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64url');
}

function hexOf(stored: string): string {
  return Buffer.from(stored, 'base64url').toString('hex');
}

function statusOf({ state, length, bytes }: FoundLog, terminal: TerminalEvent | undefined): LogStatus {
  if (state === 'e' && !terminal)
    throw new LlmError('internal', 'Internal error', { cause: new Error('a log without its end') });
  return { state: terminal?.type ?? 'running', lastOffset: length - 1, terminal, bytes };
}

function textOf(events: readonly LlmEvent[]): string {
  return events.map((event) => (event.type === 'text' ? event.text : '')).join('');
}
