/**
 * Reads one streamed message: bytes in, events out, at once and without waiting for anything. Knows the Messages API's
 * stream, nothing of HTTP, timeouts or retries. Only `message_stop` completes a message; nothing after it is read.
 */
import type { LlmEvent } from '../../protocol.ts';
import { AnswerRoom, bytesOf } from '../answer-room.ts';
import { ContentBlock } from './content-block.ts';
import { FailureCause, type UpstreamCode } from '../failures.ts';
import { SseParser } from './sse-parser.ts';
import { parseTextDelta } from './text-delta.ts';
import { readError, reportsError } from './reported-error.ts';
import { UsageMeter } from '../usage.ts';
import { exceedsBounds } from './nesting.ts';
import { mayHoldHalves, Pieces, wellFormedJson } from './well-formed.ts';

/** What may stand in an event of upstream's; none of it is taken for granted. */
interface UpstreamEvent {
  readonly type?: unknown;
  readonly message?: unknown;
  readonly index?: unknown;
  readonly content_block?: unknown;
  readonly delta?: unknown;
  readonly usage?: unknown;
}

/** The events of the API's stream that say something of the message. */
const messageEvents = new Set([
  'content_block_delta',
  'content_block_start',
  'content_block_stop',
  'message_start',
  'message_delta',
  'message_stop',
]);
/** Names by which an event says nothing of what it is. */
const anonymousNames = new Set(['', 'message', 'data']);
/** Blocks after which upstream itself is at work: it runs the tool whose call they are. */
const callsOfUpstreamsOwn = new Set(['server_tool_use', 'mcp_tool_use']);

/** Past it a block's index is no number of a block. */
const indexMax = 2 ** 31 - 1;
/** What it takes to remember that an index was used. */
const indexBytes = 32;

/** Why a stream is no message. */
export interface StreamFailure {
  readonly code: UpstreamCode;
  readonly cause: FailureCause;
  readonly requestId?: string;
  /** Upstream's own sentence. */
  readonly said?: string | undefined;
}

export class MessageReader {
  readonly usage = new UsageMeter();
  readonly #showThinking: boolean;
  readonly #room: AnswerRoom;
  readonly #parser = new SseParser((name, data) => this.#read(name, data), {
    onLine: (line, start, end) => this.#readText(line, start, end),
    onKeepAlive: () => this.#keptAlive(),
  });
  readonly #open = new Map<number, ContentBlock>();
  readonly #used = new Set<number>();
  readonly #pieces = new Pieces();
  /** What open blocks take, and what it takes to know the indexes that are used. */
  #blocksBytes = 0;
  /** What the words of the message's end take. */
  #endBytes = 0;
  #replacedBytes = 0;
  #runsTool = false;
  #batch: LlmEvent[] = [];
  #started = false;
  #complete = false;
  #failure: StreamFailure | undefined;
  #hasOutput = false;
  #signsOfLife = 0;
  #stopReason: string | null = null;
  #stopSequence: string | undefined;
  #stopDetails: unknown;

  /** @param options.room For what is held of the answer; without a bound unless given. */
  constructor({
    showThinking,
    room = new AnswerRoom(),
  }: {
    readonly showThinking: boolean;
    readonly room?: AnswerRoom;
  }) {
    this.#showThinking = showThinking;
    this.#room = room;
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

  /**
   * Counts what shows that upstream is at work: every event but pings, and pings too while a content block is open or a
   * tool of upstream's own runs. A model may think for minutes without a word that we are sent; but while nothing is under
   * way, a ping only shows that somebody holds the connection.
   */
  get signsOfLife(): number {
    return this.#signsOfLife;
  }

  get stopReason(): string | null {
    return this.#stopReason;
  }

  /** The one of the request's stop sequences that ended the message; undefined if none did. */
  get stopSequence(): string | undefined {
    return this.#stopSequence;
  }

  /** Undefined unless upstream gave some. */
  get stopDetails(): unknown {
    return this.#stopDetails;
  }

  /**
   * The events of one read, adjacent text of one block in one. Those before a failure are among them; a block that is
   * still open then is not.
   *
   * @throws LlmError `log_limit` if there is no room for what has to be held. Nothing is held any more then.
   */
  push(chunks: readonly Buffer[]): LlmEvent[] {
    try {
      for (const chunk of chunks) {
        if (this.#over) break;
        this.#parser.push(chunk);
      }
    } catch (error) {
      if (!(error instanceof FailureCause)) throw error;
      this.#failure = { code: 'upstream_error', cause: error };
    }
    this.#count();
    const batch = this.#batch;
    this.#batch = [];
    return batch;
  }

  get #over(): boolean {
    return this.#complete || this.#failure !== undefined;
  }

  /** Once for each read, since no read brings more than a socket holds. */
  #count(): void {
    const held = this.#blocksBytes + this.#endBytes + this.usage.heldBytes + this.#parser.heldBytes;
    try {
      this.#room.resize(held, this.#replacedBytes + this.usage.replacedBytes);
    } catch (error) {
      this.#batch = [];
      this.#open.clear();
      this.#used.clear();
      this.usage.dropRaw();
      throw error;
    }
  }

  /** The short way for text of an open block; everything else, and whatever is wrong, is for `#read`. */
  #readText(line: Buffer, start: number, end: number): boolean {
    if (this.#over) return false;
    const delta = parseTextDelta(line, start, end);
    if (!delta || this.#open.get(delta.index)?.kind !== 'text') return false;
    this.#signsOfLife += 1;
    // Text without escapes is well-formed.
    if (this.#pieces.holding) this.#text(delta.index, delta.text);
    else if (delta.text !== '') {
      this.usage.received(delta.text.length);
      this.#append('text', delta.index, delta.text);
    }
    return true;
  }

  #read(name: string, data: string): void {
    if (this.#over) return;
    if (exceedsBounds(data)) throw malformed();
    const event = parseEvent(data);
    if (!event) return this.#readOther(name, data);
    // What the data says is the truth; many compatible servers send no `event:` lines.
    const type = typeof event.type === 'string' ? event.type : name;
    if (type === 'ping') return this.#keptAlive();
    this.#signsOfLife += 1;
    // Text may be cut within a surrogate pair, and so may what a block is made of: those are mended as they are joined.
    const halves = mayHoldHalves(data);
    switch (type) {
      case 'content_block_delta':
        return this.#blockDelta(event, halves);
      case 'content_block_start':
        return this.#blockStart(event, halves);
    }
    const whole = halves ? parseEvent(wellFormedJson(data))! : event;
    switch (type) {
      case 'content_block_stop':
        return this.#blockStop(whole);
      case 'message_start':
        return this.#messageStart(whole);
      case 'message_delta':
        return this.#messageDelta(whole);
      case 'message_stop':
        return this.#messageStop();
    }
    if (type === 'error' || reportsError(whole, anonymousNames.has(name))) this.#error(whole);
  }

  /** Data that is no JSON object. An event whose name isn't the API's may have any. */
  #readOther(name: string, data: string): void {
    if (name === 'ping') return this.#keptAlive();
    if (name === 'error') return this.#error(parseJson(data) ?? data);
    const list = anonymousNames.has(name) ? parseJson(data) : undefined;
    if (reportsError(list, true)) return this.#error(list);
    if (anonymousNames.has(name) || messageEvents.has(name)) throw malformed();
    this.#signsOfLife += 1;
  }

  /** A ping, or a comment in place of one. */
  #keptAlive(): void {
    if (this.#open.size > 0 || this.#runsTool) this.#signsOfLife += 1;
  }

  #messageStart(event: UpstreamEvent): void {
    // Two answers in one stream: a proxy that retried in the middle. Which half belongs to which can't be told.
    if (this.#started) throw broken('second_message_start', 'the message starts twice');
    this.#started = true;
    if (isRecord(event.message)) this.usage.start(event.message['usage']);
    else this.usage.start(undefined);
  }

  #blockStart(event: UpstreamEvent, halves: boolean): void {
    const index = this.#indexOf(event);
    const start = event.content_block;
    if (!isRecord(start) || typeof start['type'] !== 'string') throw malformed();
    if (this.#used.has(index)) throw broken('block_started_twice', 'a content block starts twice');
    this.#used.add(index);
    this.#hasOutput = true;
    const block = new ContentBlock(start['type'], start);
    this.#open.set(index, block);
    this.#blocksBytes += indexBytes + block.bytes;
    this.#runsTool = false;
    if (halves) block.expectHalves();
    if (block.kind === 'text') this.#text(index, start['text']);
    else if (block.kind === 'thinking') this.#thinking(index, start['thinking']);
  }

  #blockDelta(event: UpstreamEvent, halves: boolean): void {
    const index = this.#indexOf(event);
    const block = this.#open.get(index);
    if (!block) throw broken('block_not_open', 'a delta belongs to no open content block');
    const { delta } = event;
    if (!isRecord(delta)) throw malformed();
    const type = delta['type'];
    if (type === 'text_delta' && block.kind === 'text') {
      this.#text(index, delta['text']);
    } else if (type === 'thinking_delta' && block.kind === 'thinking') {
      this.#thinking(index, delta['thinking']);
    } else {
      if (halves) block.expectHalves();
      if (typeof delta['partial_json'] === 'string') this.usage.received(delta['partial_json'].length);
      const before = block.bytes;
      block.merge(delta);
      this.#blocksBytes += block.bytes - before;
    }
  }

  #blockStop(event: UpstreamEvent): void {
    const index = this.#indexOf(event);
    const block = this.#open.get(index);
    if (!block) throw broken('block_not_open', 'a content block stops that is not open');
    this.#finish(index, block);
  }

  #messageDelta(event: UpstreamEvent): void {
    if (!this.#started) throw notStarted();
    const { delta, usage } = event;
    if (isRecord(delta)) {
      if (typeof delta['stop_reason'] === 'string') {
        this.#stopReason = delta['stop_reason'];
        this.#runsTool = false;
      }
      if (typeof delta['stop_sequence'] === 'string') this.#stopSequence = delta['stop_sequence'];
      this.#stopDetails = delta['stop_details'] ?? this.#stopDetails;
      this.#replacedBytes += this.#endBytes;
      this.#endBytes = bytesOf(this.#stopReason) + bytesOf(this.#stopSequence) + bytesOf(this.#stopDetails);
    }
    this.usage.update(usage, this.#stopReason !== null);
  }

  #messageStop(): void {
    if (!this.#started) throw notStarted();
    for (const [index, block] of this.#open) this.#finish(index, block);
    this.#complete = true;
  }

  #error(reported: unknown): void {
    const { code, type, said, requestId } = readError(reported);
    this.#failure = {
      code,
      cause: new FailureCause('upstream sent an error event', { code: 'error_event', type }),
      said,
      ...(requestId === undefined ? {} : { requestId }),
    };
  }

  #text(index: number, text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    this.usage.received(text.length);
    this.#append('text', index, this.#pieces.join(index, text));
  }

  #thinking(index: number, text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    this.usage.received(text.length);
    if (this.#showThinking) this.#append('thinking', index, this.#pieces.join(index, text));
  }

  #append(type: 'text' | 'thinking', index: number, text: string): void {
    if (text === '') return;
    const last = this.#batch.at(-1);
    if (last?.type === type && last.index === index) last.text += text;
    else this.#batch.push({ type, index, text });
  }

  #finish(index: number, open: ContentBlock): void {
    this.#open.delete(index);
    this.#blocksBytes -= open.bytes;
    this.#runsTool = callsOfUpstreamsOwn.has(open.kind);
    if (open.kind === 'text' || open.kind === 'thinking') this.#append(open.kind, index, this.#pieces.end(index));
    const block = open.finish();
    if (block) this.#batch.push({ type: 'block', index, block });
  }

  #indexOf(event: UpstreamEvent): number {
    if (!this.#started) throw notStarted();
    const { index } = event;
    if (!Number.isInteger(index) || (index as number) < 0 || (index as number) > indexMax) throw malformed();
    // JSON knows a zero below zero.
    return Math.abs(index as number);
  }
}

/** Undefined for what is no JSON object. */
function parseEvent(data: string): UpstreamEvent | undefined {
  const event = parseJson(data);
  return isRecord(event) ? event : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Its message would quote the answer.
    return undefined;
  }
}

function broken(code: string, message: string): FailureCause {
  return new FailureCause(message, { code });
}

function malformed(): FailureCause {
  return broken('malformed_event', 'an event is malformed');
}

function notStarted(): FailureCause {
  return broken('no_message_start', 'content comes before message_start');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
