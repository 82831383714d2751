/** A log that another instance writes, or whose generation has ended, as Redis has it. */
import { LlmError } from '../../errors.ts';
import type { CallAnswer, StartEvent, TerminalEvent } from '../../protocol.ts';
import {
  generationNotFound,
  readToEnd,
  type GenerationKey,
  type GenerationRecord,
  type LogReader,
  type LogStatus,
  type StreamLog,
  type TakeRoom,
} from '../stream-log.ts';
import { heldBytesOf } from '../event-list.ts';
import { passOn } from './answers.ts';
import { hexOf, pageElements, parse, terminalOf } from './elements.ts';
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
    const { config, startedAt, thread } = this.#start;
    this.record = { caller, generationId, config, startedAt, thread, requestHash: hexOf(found.requestHash) };
  }

  async status(): Promise<LogStatus> {
    const found = await this.#read(-1, -1);
    return statusOf(found, terminalOf(found.elements.map(parse)));
  }

  /** Reads a long log twice, since nobody knows its size before. The second time it stops where the first one did. */
  async snapshot(room?: TakeRoom): Promise<LogStatus & { readonly text: string }> {
    let found = await this.#read(0, pageElements - 1);
    const firstPage = found.elements;
    let bytes = bytesOf(found);
    let length = found.elements.length;
    while (length < found.length) {
      found = await this.#read(length, length + pageElements - 1);
      bytes += bytesOf(found);
      length += found.elements.length;
    }
    const status = statusOf({ ...found, length }, terminalOf(found.elements.map(parse)));
    await room?.(bytes);
    let text = textOf(firstPage);
    for (let from = firstPage.length; from < length; from += pageElements) {
      text += textOf((await this.#read(from, Math.min(from + pageElements, length) - 1)).elements);
    }
    return { ...status, text };
  }

  /** Only its producer may append, on another instance. */
  append(): Promise<void> {
    return Promise.reject(notItsProducer());
  }

  produced(): never {
    throw notItsProducer();
  }

  async read(after: number, signal: AbortSignal, onClose?: () => void): Promise<LogReader> {
    const { followed } = this.#shard;
    let follow = followed.get(this.#k);
    if (!follow) {
      follow = new Follow(this.#shard, this.#k, this.record, this.#start, this.#owner);
      followed.set(this.#k, follow);
    }
    return follow.read(after, signal, onClose);
  }

  /** Only its producer asks it. */
  recorded(): undefined {}

  resolve(answers: readonly CallAnswer[]): Promise<number> {
    return passOn(this.#shard, this.#k, this.#owner, answers, async () => (await this.status()).state === 'running');
  }

  /** Asks anew as often as an instance beats: the message to the owner may be lost. */
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

function notItsProducer(): Error {
  return new Error('only the instance that produces a log may do this');
}

function statusOf(
  { state, length }: Pick<FoundLog, 'state' | 'length'>,
  terminal: TerminalEvent | undefined,
): LogStatus {
  if (state === 'e' && !terminal)
    throw new LlmError('internal', 'Internal error', { cause: new Error('a log without its end') });
  return { state: terminal?.type ?? 'running', lastOffset: length - 1, terminal };
}

/** Bytes that the text of some elements takes in memory, at most. */
function bytesOf({ elements }: FoundLog): number {
  return elements.reduce((sum, element) => sum + heldBytesOf(element), 0);
}

function textOf(elements: readonly string[]): string {
  return elements
    .map(parse)
    .map((event) => (event.type === 'text' ? event.text : ''))
    .join('');
}
