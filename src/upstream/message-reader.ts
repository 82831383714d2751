/**
 * Reads one streamed message: bytes in, events out, at once and without waiting for anything. Knows the Messages API's
 * stream, nothing of HTTP, timeouts or retries. Only `message_stop` completes a message; nothing after it is read.
 */
import type { LlmEvent } from '../protocol.ts';
import { ContentBlock } from './content-block.ts';
import { classify, UpstreamFault, type UpstreamCode } from './failures.ts';
import { saidIn } from './said.ts';
import { SseParser } from './sse-parser.ts';
import { parseTextDelta } from './text-delta.ts';
import { UsageMeter } from './usage.ts';

/** What may stand in an event of upstream's; none of it is taken for granted. */
interface UpstreamEvent {
  readonly type?: unknown;
  readonly message?: unknown;
  readonly index?: unknown;
  readonly content_block?: unknown;
  readonly delta?: unknown;
  readonly usage?: unknown;
  readonly error?: unknown;
  readonly request_id?: unknown;
}

/** Why a stream is no message. */
export interface StreamFailure {
  readonly code: UpstreamCode;
  readonly cause: UpstreamFault;
  readonly requestId?: string;
  /** Upstream's own sentence. */
  readonly said?: string | undefined;
}

export class MessageReader {
  readonly usage = new UsageMeter();
  readonly #showThinking: boolean;
  readonly #parser = new SseParser((name, data) => this.#read(name, data), {
    onLine: (line, start, end) => this.#readText(line, start, end),
  });
  readonly #open = new Map<number, ContentBlock>();
  readonly #used = new Set<number>();
  #batch: LlmEvent[] = [];
  #started = false;
  #complete = false;
  #failure: StreamFailure | undefined;
  #hasOutput = false;
  #signsOfLife = 0;
  #stopReason: string | null = null;
  #stopDetails: unknown;

  constructor(options: { readonly showThinking: boolean }) {
    this.#showThinking = options.showThinking;
  }

  /** Whether `message_stop` was read: the one success. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Set once the stream can't become a message any more. */
  get failure(): StreamFailure | undefined {
    return this.#failure;
  }

  /** Whether the first content block has begun, hidden or not: from then on nothing can be tried again. */
  get hasOutput(): boolean {
    return this.#hasOutput;
  }

  /** Counts events other than pings. */
  get signsOfLife(): number {
    return this.#signsOfLife;
  }

  get stopReason(): string | null {
    return this.#stopReason;
  }

  /** Undefined unless upstream gave some. */
  get stopDetails(): unknown {
    return this.#stopDetails;
  }

  /**
   * The events of one read, adjacent text of one block in one. Those before a failure are among them; a block that is
   * still open then is not.
   */
  push(chunks: readonly Buffer[]): LlmEvent[] {
    try {
      for (const chunk of chunks) {
        if (this.#over) break;
        this.#parser.push(chunk);
      }
    } catch (error) {
      if (!(error instanceof UpstreamFault)) throw error;
      this.#failure = { code: 'upstream_error', cause: error };
    }
    const batch = this.#batch;
    this.#batch = [];
    return batch;
  }

  get #over(): boolean {
    return this.#complete || this.#failure !== undefined;
  }

  /** The short way for text of an open block; everything else, and whatever is wrong, is for `#read`. */
  #readText(line: Buffer, start: number, end: number): boolean {
    if (this.#over) return false;
    const delta = parseTextDelta(line, start, end);
    if (!delta || this.#open.get(delta.index)?.kind !== 'text') return false;
    this.#signsOfLife += 1;
    this.#text(delta.index, delta.text);
    return true;
  }

  #read(name: string, data: string): void {
    if (this.#over) return;
    const event = parseEvent(data);
    // What the data says is the truth; many compatible servers send no `event:` lines.
    const type = typeof event.type === 'string' ? event.type : name;
    if (type === 'ping') return;
    this.#signsOfLife += 1;
    switch (type) {
      case 'content_block_delta':
        return this.#blockDelta(event);
      case 'content_block_start':
        return this.#blockStart(event);
      case 'content_block_stop':
        return this.#blockStop(event);
      case 'message_start':
        return this.#messageStart(event);
      case 'message_delta':
        return this.#messageDelta(event);
      case 'message_stop':
        return this.#messageStop();
      case 'error':
        return this.#error(event);
    }
  }

  #messageStart(event: UpstreamEvent): void {
    // Two answers in one stream: a proxy that retried in the middle. Which half belongs to which can't be told.
    if (this.#started) throw fault('second_message_start', 'the message starts twice');
    this.#started = true;
    if (isRecord(event.message)) this.usage.start(event.message['usage']);
    else this.usage.start(undefined);
  }

  #blockStart(event: UpstreamEvent): void {
    const index = this.#indexOf(event);
    const start = event.content_block;
    if (!isRecord(start) || typeof start['type'] !== 'string') throw malformed();
    if (this.#used.has(index)) throw fault('block_started_twice', 'a content block starts twice');
    this.#used.add(index);
    this.#hasOutput = true;
    const block = new ContentBlock(start['type'], start);
    this.#open.set(index, block);
    if (block.kind === 'text') this.#text(index, start['text']);
    else if (block.kind === 'thinking') this.#thinking(index, start['thinking']);
  }

  #blockDelta(event: UpstreamEvent): void {
    const index = this.#indexOf(event);
    const block = this.#open.get(index);
    if (!block) throw fault('block_not_open', 'a delta belongs to no open content block');
    const { delta } = event;
    if (!isRecord(delta)) throw malformed();
    const type = delta['type'];
    if (type === 'text_delta' && block.kind === 'text') {
      this.#text(index, delta['text']);
    } else if (type === 'thinking_delta' && block.kind === 'thinking') {
      this.#thinking(index, delta['thinking']);
    } else {
      if (typeof delta['partial_json'] === 'string') this.usage.received(delta['partial_json'].length);
      block.merge(delta);
    }
  }

  #blockStop(event: UpstreamEvent): void {
    const index = this.#indexOf(event);
    const block = this.#open.get(index);
    if (!block) throw fault('block_not_open', 'a content block stops that is not open');
    this.#finish(index, block);
  }

  #messageDelta(event: UpstreamEvent): void {
    if (!this.#started) throw notStarted();
    const { delta, usage } = event;
    if (isRecord(delta)) {
      if (typeof delta['stop_reason'] === 'string') this.#stopReason = delta['stop_reason'];
      this.#stopDetails = delta['stop_details'] ?? this.#stopDetails;
    }
    this.usage.update(usage, this.#stopReason !== null);
  }

  #messageStop(): void {
    if (!this.#started) throw notStarted();
    for (const [index, block] of this.#open) this.#finish(index, block);
    this.#complete = true;
  }

  #error(event: UpstreamEvent): void {
    const type = isRecord(event.error) ? event.error['type'] : undefined;
    this.#failure = {
      code: classify(type),
      cause: new UpstreamFault('upstream sent an error event', {
        code: 'error_event',
        ...(typeof type === 'string' ? { type } : {}),
      }),
      ...(typeof event.request_id === 'string' ? { requestId: event.request_id } : {}),
      said: saidIn(event),
    };
  }

  #text(index: number, text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    this.usage.received(text.length);
    this.#append('text', index, text);
  }

  #thinking(index: number, text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    this.usage.received(text.length);
    if (this.#showThinking) this.#append('thinking', index, text);
  }

  #append(type: 'text' | 'thinking', index: number, text: string): void {
    const last = this.#batch.at(-1);
    if (last?.type === type && last.index === index) last.text += text;
    else this.#batch.push({ type, index, text });
  }

  #finish(index: number, open: ContentBlock): void {
    this.#open.delete(index);
    const block = open.finish();
    if (block) this.#batch.push({ type: 'block', index, block });
  }

  #indexOf(event: UpstreamEvent): number {
    if (!this.#started) throw notStarted();
    if (!Number.isInteger(event.index)) throw malformed();
    return event.index as number;
  }
}

function parseEvent(data: string): UpstreamEvent {
  let event: unknown;
  try {
    event = JSON.parse(data);
  } catch {
    // Its message would quote the answer.
    throw malformed();
  }
  if (!isRecord(event)) throw malformed();
  return event;
}

function fault(code: string, message: string): UpstreamFault {
  return new UpstreamFault(message, { code });
}

function malformed(): UpstreamFault {
  return fault('malformed_event', 'an event is malformed');
}

function notStarted(): UpstreamFault {
  return fault('no_message_start', 'content comes before message_start');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
