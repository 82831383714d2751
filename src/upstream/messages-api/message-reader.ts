/**
 * Reads one streamed message: takes bytes and returns events in the same call, and never waits. Knows the stream of the
 * Messages API, nothing of HTTP, timeouts or retries. Only `message_stop` completes a message, and nothing after it is
 * read.
 *
 * Each line of the stream takes one of two ways. `#readText` takes the text of an open block, which is nearly
 * everything that upstream sends, from the bytes themselves. `#readEvent` parses every other event as JSON.
 */
import type { LlmEvent } from '../../protocol.ts';
import { AnswerRoom } from '../answer-room.ts';
import { FailureCause, type UpstreamCode } from '../failures.ts';
import { UsageMeter } from '../usage.ts';
import { AnswerText } from './answer-text.ts';
import type { ContentBlock } from './content-block.ts';
import { MessageStop } from './message-stop.ts';
import { exceedsBounds } from './nesting.ts';
import { OpenBlocks } from './open-blocks.ts';
import { readError, reportsError } from './reported-error.ts';
import { SseParser } from './sse-parser.ts';
import type { StepContent } from './step-content.ts';
import { parseTextDelta } from './text-delta.ts';
import {
  anonymousNames,
  isRecord,
  messageEvents,
  parseEvent,
  parseJson,
  type UpstreamEvent,
} from './upstream-event.ts';
import { mayHoldHalves, Pieces, wellFormedJson } from './well-formed.ts';

/** A larger number is not the index of a block. */
const indexMax = 2 ** 31 - 1;

/** Why a stream can't become a message. */
export interface StreamFailure {
  readonly code: UpstreamCode;
  readonly cause: FailureCause;
  readonly requestId?: string;
  /** Upstream's own sentence. */
  readonly said?: string | undefined;
}

export interface MessageReaderOptions {
  /** Whether thinking is emitted. Thinking that isn't emitted still counts as output. */
  readonly showThinking: boolean;
  /**
   * Set where the answer is an object: its text is kept, to be judged. With `tool` the object is the input of a call of
   * this tool, and is emitted as text.
   */
  readonly output?: { readonly tool?: string } | undefined;
  /** Counts what is held of the answer. Without a bound by default. */
  readonly room?: AnswerRoom;
  /** Keeps the message for the request of a next step, and makes the events of calls. Absent where no step may follow. */
  readonly step?: StepContent | undefined;
}

export class MessageReader {
  readonly usage = new UsageMeter();
  readonly step: StepContent | undefined;
  readonly #showThinking: boolean;
  readonly #firstIndex: number;
  readonly #answer: AnswerText | undefined;
  readonly #outputTool: string | undefined;
  /** The index of the call of that tool. */
  #outputIndex: number | undefined;
  readonly #room: AnswerRoom;
  readonly #parser = new SseParser((name, data) => this.#readEvent(name, data), {
    onLine: (line, start, end) => this.#readText(line, start, end),
    onKeepAlive: () => this.#keptAlive(),
  });
  readonly #blocks = new OpenBlocks();
  readonly #stop = new MessageStop();
  readonly #pieces = new Pieces();
  /** The events of the read that is being parsed. */
  #batch: LlmEvent[] = [];
  #started = false;
  #complete = false;
  #failure: StreamFailure | undefined;
  #hasOutput = false;
  #signsOfLife = 0;

  constructor({ showThinking, output, room = new AnswerRoom(), step }: MessageReaderOptions) {
    this.#showThinking = showThinking;
    this.#answer = output && new AnswerText();
    this.#outputTool = output?.tool;
    this.#room = room;
    this.step = step;
    this.#firstIndex = step?.firstIndex ?? 0;
  }

  /** Whether `message_stop` was read. Nothing else is a success. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Set once the stream can't become a message any more. */
  get failure(): StreamFailure | undefined {
    return this.#failure;
  }

  /** Whether the first content block has begun, emitted or not. From then on the request can't be retried. */
  get hasOutput(): boolean {
    return this.#hasOutput;
  }

  /**
   * Counts the events that show that upstream is at work. Every event but a ping counts. A ping counts while a content
   * block is open or upstream runs a tool of its own, since a model may think for minutes and send nothing else. At
   * other times a ping only shows that something, perhaps a proxy, holds the connection open.
   */
  get signsOfLife(): number {
    return this.#signsOfLife;
  }

  /** What the message says of itself. */
  get about(): Pick<MessageStop, 'id' | 'model' | 'stopSequence' | 'stopDetails' | 'container' | 'contextManagement'> {
    return this.#stop;
  }

  get stopReason(): string | null {
    const { stopReason } = this.#stop;
    return stopReason === 'tool_use' && this.#outputIndex !== undefined ? 'end_turn' : stopReason;
  }

  /** The text of the object; undefined where the answer is none. */
  get answerText(): string | undefined {
    return this.#answer?.toString();
  }

  /**
   * Returns the events of one read of the socket, with adjacent text of one block joined. Where the stream fails within
   * this read, the events before the failure are among them, but no block that was open at the failure.
   *
   * @throws LlmError `log_limit` where the answer's open blocks and usage take more room than it has. They are dropped
   *   then.
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

  /** Counts what is held. Once for each read is enough, since a read is at most 64 KiB. */
  #count(): void {
    const heldBytes = this.#blocks.heldBytes + this.#stop.heldBytes + this.usage.heldBytes + this.#parser.heldBytes;
    const keptBytes = (this.#answer?.heldBytes ?? 0) + (this.step?.heldBytes ?? 0);
    try {
      this.#room.resize(heldBytes + keptBytes, this.#stop.replacedBytes + this.usage.replacedBytes);
    } catch (error) {
      this.#batch = [];
      this.#blocks.clear();
      this.usage.dropRaw();
      throw error;
    }
  }

  // ------------------------------------------------------------------------------------------ the two ways of a line

  /**
   * Returns whether it took the line. It leaves every line that is not text of an open block, and every error, to
   * `#readEvent`.
   */
  #readText(line: Buffer, start: number, end: number): boolean {
    if (this.#over) return false;
    const delta = parseTextDelta(line, start, end);
    if (!delta) return false;
    const block = this.#blocks.get(delta.index);
    if (block?.kind !== 'text') return false;
    this.#signsOfLife += 1;
    if (this.step) this.#blocks.keep(block, delta.text);
    // This text has no escapes, and only an escape can stand for half of a surrogate pair. So it needs to be joined
    // with other pieces only where an earlier piece left a half behind.
    if (this.#pieces.holding) this.#text(delta.index, delta.text);
    else if (delta.text !== '') {
      this.usage.received(delta.text.length);
      this.#append('text', delta.index, delta.text);
    }
    return true;
  }

  #readEvent(name: string, data: string): void {
    if (this.#over) return;
    if (exceedsBounds(data)) throw malformed();
    const event = parseEvent(data);
    if (!event) return this.#readOther(name, data);
    // The type in the data outranks the event's name: many compatible servers send no `event:` lines.
    const type = typeof event.type === 'string' ? event.type : name;
    if (type === 'ping') return this.#keptAlive();
    this.#signsOfLife += 1;
    // Upstream may cut a text, or a field of a block, within a surrogate pair. Its halves come in two events and are
    // joined before they are repaired. In every other event a lone half is replaced at once.
    const halves = mayHoldHalves(data);
    switch (type) {
      case 'content_block_delta':
        return this.#blockDelta(event, halves);
      case 'content_block_start':
        return this.#blockStart(event, halves);
    }
    const repaired = halves ? parseEvent(wellFormedJson(data))! : event;
    switch (type) {
      case 'content_block_stop':
        return this.#blockStop(repaired);
      case 'message_start':
        return this.#messageStart(repaired);
      case 'message_delta':
        return this.#messageDelta(repaired);
      case 'message_stop':
        return this.#messageStop();
    }
    if (type === 'error' || reportsError(repaired, anonymousNames.has(name))) this.#error(repaired);
  }

  /**
   * Reads data that is no JSON object. An event whose name the API doesn't have may hold any data, and is passed over.
   */
  #readOther(name: string, data: string): void {
    if (name === 'ping') return this.#keptAlive();
    if (name === 'error') return this.#error(parseJson(data) ?? data);
    const list = anonymousNames.has(name) ? parseJson(data) : undefined;
    if (reportsError(list, true)) return this.#error(list);
    if (anonymousNames.has(name) || messageEvents.has(name)) throw malformed();
    this.#signsOfLife += 1;
  }

  /** Called for a ping, and for a comment, which some servers send instead. */
  #keptAlive(): void {
    if (this.#blocks.atWork) this.#signsOfLife += 1;
  }

  // ---------------------------------------------------------------------------------------------- events of a message

  #messageStart(event: UpstreamEvent): void {
    // A proxy that retries in mid-stream sends two messages as one. Nothing shows which blocks belong to which of them.
    if (this.#started) throw broken('second_message_start', 'the message starts twice');
    this.#started = true;
    const message = isRecord(event.message) ? event.message : {};
    this.#stop.start(message);
    this.usage.start(message['usage']);
  }

  #blockStart(event: UpstreamEvent, halves: boolean): void {
    const index = this.#indexOf(event);
    const start = event.content_block;
    if (!isRecord(start) || typeof start['type'] !== 'string') throw malformed();
    if (this.#blocks.wasUsed(index)) throw broken('block_started_twice', 'a content block starts twice');
    this.#hasOutput = true;
    const block = this.#blocks.open(index, start['type'], start);
    if (halves) block.expectHalves();
    if (block.kind === 'text') this.#text(index, start['text']);
    else if (block.kind === 'thinking') this.#thinking(index, start['thinking']);
    else if (this.#outputTool !== undefined && start['name'] === this.#outputTool) this.#outputIndex = index;
    else if (this.step?.isCall(block)) this.#callStart(this.step, index, block);
  }

  #callStart(step: StepContent, index: number, block: ContentBlock): void {
    if (!block.field('id') || !block.field('name')) throw malformed();
    this.#push(step.started(index, block));
  }

  #blockDelta(event: UpstreamEvent, halves: boolean): void {
    const index = this.#indexOf(event);
    const block = this.#blocks.get(index);
    if (!block) throw broken('block_not_open', 'a delta belongs to no open content block');
    const { delta } = event;
    if (!isRecord(delta)) throw malformed();
    const type = delta['type'];
    if (type === 'text_delta' && block.kind === 'text') {
      this.#keep(block, delta['text']);
      this.#text(index, delta['text']);
    } else if (type === 'thinking_delta' && block.kind === 'thinking') {
      this.#keep(block, delta['thinking']);
      this.#thinking(index, delta['thinking']);
    } else if (index === this.#outputIndex) {
      this.#text(index, delta['partial_json']);
    } else {
      if (halves) block.expectHalves();
      const json = delta['partial_json'];
      if (typeof json === 'string') this.usage.received(json.length);
      this.#blocks.merge(block, delta);
      if (typeof json === 'string' && this.step?.streamsInput(block)) {
        this.#append('tool_input', index, this.#pieces.join(index, json));
      }
    }
  }

  #keep(block: ContentBlock, text: unknown): void {
    if (this.step && typeof text === 'string') this.#blocks.keep(block, text);
  }

  #blockStop(event: UpstreamEvent): void {
    const index = this.#indexOf(event);
    const block = this.#blocks.get(index);
    if (!block) throw broken('block_not_open', 'a content block stops that is not open');
    this.#finish(index, block);
  }

  #messageDelta(event: UpstreamEvent): void {
    if (!this.#started) throw notStarted();
    const { delta, usage } = event;
    if (isRecord(delta)) {
      this.#stop.update(delta, event.context_management);
      if (typeof delta['stop_reason'] === 'string') this.#blocks.stopTool();
    }
    this.usage.update(usage, this.#stop.stopReason !== null);
  }

  #messageStop(): void {
    if (!this.#started) throw notStarted();
    for (const [index, block] of this.#blocks.entries()) this.#finish(index, block);
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

  // -------------------------------------------------------------------------------------------------------- the batch

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

  #append(type: 'text' | 'thinking' | 'tool_input', at: number, text: string): void {
    if (text === '') return;
    if (this.#answer && type === 'text') this.#answer.push(at, text);
    const index = this.#firstIndex + at;
    const last = this.#batch.at(-1);
    if (last?.type === type && last.index === index) last.text += text;
    else this.#batch.push({ type, index, text });
  }

  #finish(index: number, open: ContentBlock): void {
    this.#blocks.close(index, open);
    if (index === this.#outputIndex) return this.#finishOutput(index, open);
    if (open.kind === 'text' || open.kind === 'thinking') this.#append(open.kind, index, this.#pieces.end(index));
    else if (open.kind === 'tool_use') this.#append('tool_input', index, this.#pieces.end(index));
    const block = open.finish();
    if (this.step) this.#push(this.step.finished(index, open, block));
    else if (block) this.#batch.push({ type: 'block', index, block });
  }

  #push(event: LlmEvent | undefined): void {
    if (event) this.#batch.push(event);
  }

  /** Ends the object that is the input of a call. Some servers send it whole when the block begins. */
  #finishOutput(index: number, open: ContentBlock): void {
    this.#append('text', index, this.#pieces.end(index));
    if (!this.#answer!.has(index)) this.#text(index, JSON.stringify(open.finish()?.['input']));
  }

  #indexOf(event: UpstreamEvent): number {
    if (!this.#started) throw notStarted();
    const { index } = event;
    if (!Number.isInteger(index) || (index as number) < 0 || (index as number) > indexMax) throw malformed();
    // JSON can hold -0, which is not below 0.
    return Math.abs(index as number);
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
