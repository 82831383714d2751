/**
 * One request and its response: writes the events of the Messages API in their wire form, and counts them. Knows
 * nothing of replies and faults, which decide what it writes. `tokensSent` and `usage` never count more than was
 * written.
 */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { isObject } from './fields.ts';
import { randomId, type Random } from './random.ts';
import { SentContent } from './sent-content.ts';
import { charsPerToken, type InputUsage } from './tokens.ts';
import type { PrefixPart } from './past-turns.ts';
import type { Block, Delta, MessageEnd, SimulatorRequest } from './simulator-request.ts';
import type { ApiError, MessagesBody } from './validation.ts';
import type { Outcome, Wire } from './wire.ts';

/** On average, one delta in this many is followed by a ping. */
const deltasPerPing = 128;
const paddings = Array.from({ length: 16 }, (_, blanks) => ' '.repeat(blanks));

export interface ExchangeParts {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
  readonly bodySha256: string;
  readonly random: Random;
  readonly wire: Wire;
  /** Counts the prompt's tokens. Called whenever the message starts. */
  readonly countInput: (body: MessagesBody) => InputUsage;
  /** Called at the end of a message whose request has tools, with its whole content. */
  readonly onAnswer: (exchange: Exchange, content: readonly Block[]) => void;
}

export class Exchange implements SimulatorRequest {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: MessagesBody;
  readonly bodySha256: string;
  /** Whether events have an `event:` line, and how their lines end. */
  readonly framing = { eventLines: true, newline: '\n' };
  tokensSent = 0;
  usage: Readonly<Record<string, unknown>> | undefined;
  continues: string | undefined;
  changedPrefix: PrefixPart | undefined;
  readonly #wire: Wire;
  readonly #random: Random;
  readonly #countInput: (body: MessagesBody) => InputUsage;
  readonly #onAnswer: ExchangeParts['onAnswer'];
  /** Only where the request has tools: nobody continues another answer in mid-turn. */
  readonly #sent: SentContent | undefined;
  #blocks = 0;
  #blockOpen = false;
  #blockChars = 0;
  /** The tokens of closed blocks. */
  #blockTokens = 0;

  constructor(parts: ExchangeParts) {
    this.#wire = parts.wire;
    this.#random = parts.random;
    this.#countInput = parts.countInput;
    this.#onAnswer = parts.onAnswer;
    this.id = randomId('req', parts.random);
    this.method = parts.method;
    this.path = parts.path;
    this.headers = parts.headers;
    this.body = parts.body as MessagesBody;
    this.bodySha256 = parts.bodySha256;
    this.#sent = isObject(parts.body) && 'tools' in parts.body ? new SentContent() : undefined;
  }

  get messagesSha256(): string {
    return createHash('sha256')
      .update(JSON.stringify(this.body.messages) ?? '')
      .digest('hex');
  }
  get bytesSent(): number {
    return this.#wire.bytesSent;
  }
  get outcome(): Promise<Outcome> {
    return this.#wire.outcome;
  }
  get closedAt(): number | undefined {
    return this.#wire.closedAt;
  }
  get over(): boolean {
    return this.#wire.over;
  }
  get pendingChars(): number {
    return this.#wire.pendingChars;
  }

  // ------------------------------------------------------------------------------------------------- the message

  /** Sends status and headers, by default those of an event stream. Does nothing if they have been sent. */
  head(status = 200, headers: OutgoingHttpHeaders = {}): void {
    this.#wire.head(status, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'request-id': this.id,
      'anthropic-organization-id': '00000000-0000-4000-8000-000000000000',
      ...headers,
    });
  }

  start(): void {
    if (this.usage !== undefined || this.over) return;
    this.putMessageStart();
    void this.flush();
  }

  /**
   * Compresses the body by gzip, such that each write can be decoded at once. Must be called before anything is sent.
   */
  compress(): void {
    this.head(200, { 'content-encoding': 'gzip' });
    this.#wire.compress();
  }

  /** Adds `message_start` to the next write, also where the message has started. */
  putMessageStart(): void {
    this.head();
    const input = this.#countInput(this.body);
    this.usage = {
      ...input,
      cache_creation: {
        ephemeral_5m_input_tokens: input.cache_creation_input_tokens,
        ephemeral_1h_input_tokens: 0,
      },
      output_tokens: 1,
      service_tier: 'standard',
    };
    this.putEvent('message_start', {
      message: {
        model: this.body.model,
        id: randomId('msg', this.#random),
        type: 'message',
        role: 'assistant',
        content: [],
        stop_reason: null,
        stop_sequence: null,
        stop_details: null,
        usage: this.usage,
      },
    });
  }

  startBlock(block: Block = { type: 'text', text: '' }): number {
    this.start();
    this.endBlock();
    const index = this.#blocks++;
    this.#blockOpen = true;
    this.#sent?.start(block);
    this.putEvent('content_block_start', { index, content_block: block });
    if (index === 0) this.#putPing();
    void this.flush();
    return index;
  }

  text(text: string): Promise<void> {
    return this.delta({ type: 'text_delta', text });
  }

  delta(delta: Delta): Promise<void> {
    this.putDelta(delta);
    return this.written();
  }

  /** Adds a delta to the next write. */
  putDelta(delta: Delta): void {
    if (!this.#blockOpen) this.startBlock();
    const random = this.#random();
    const padding = paddings[random & 15]!;
    this.#put(
      'content_block_delta',
      `{"type":"content_block_delta","index":${this.#blocks - 1},"delta":${JSON.stringify(delta)}${padding}}`,
    );
    this.#sent?.add(delta);
    this.#blockChars += deltaContent(delta)?.length ?? 0;
    if ((random >>> 4) % deltasPerPing === 0) this.#putPing();
  }

  endBlock(): void {
    if (!this.#blockOpen) return;
    this.putEvent('content_block_stop', { index: this.#blocks - 1 });
    this.#sent?.end();
    this.#blockOpen = false;
    this.#blockTokens += Math.ceil(this.#blockChars / charsPerToken);
    this.#blockChars = 0;
    void this.flush();
  }

  finish(stopReason = 'end_turn', end: MessageEnd = {}): void {
    this.putMessageEnd(stopReason, end);
    this.end();
  }

  /** Adds the end of the message to the next write, but doesn't end the response. */
  putMessageEnd(stopReason: string, end: MessageEnd = {}): void {
    this.putMessageDelta(stopReason, end);
    this.putEvent('message_stop', {});
  }

  /** Closes the open block, and adds `message_delta` with stop reason and usage to the next write. */
  putMessageDelta(stopReason: string, end: MessageEnd = {}): void {
    if (this.over) return;
    this.start();
    this.endBlock();
    if (this.#sent !== undefined) this.#onAnswer(this, this.#sent.blocks);
    const { input_tokens, cache_creation_input_tokens, cache_read_input_tokens } = this.usage as unknown as InputUsage;
    const usage = {
      input_tokens,
      cache_creation_input_tokens,
      cache_read_input_tokens,
      output_tokens: Math.max(1, this.#blockTokens),
      ...end.usage,
    };
    this.usage = { ...this.usage, ...usage };
    const { output_tokens } = usage;
    const zeros = { input_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens };
    this.putEvent('message_delta', {
      delta: {
        stop_reason: stopReason,
        stop_sequence: end.stopSequence ?? null,
        stop_details: end.stopDetails ?? null,
      },
      usage: end.zeros ? zeros : usage,
    });
  }

  // -------------------------------------------------------------------- single events, other responses, the connection

  /**
   * Adds an event whose data is an object of this type to the next write. It is padded with blanks, as the API's events
   * are.
   */
  putEvent(type: string, fields: Readonly<Record<string, unknown>>): void {
    this.#put(type, JSON.stringify({ type, ...fields }).slice(0, -1) + paddings[this.#random() & 15]! + '}');
  }

  event(name: string, data: unknown): Promise<void> {
    this.head();
    this.#put(name, typeof data === 'string' ? data : JSON.stringify(data));
    return this.written();
  }

  ping(): Promise<void> {
    this.#putPing();
    return this.written();
  }

  putError(error: Pick<ApiError, 'type' | 'message'>): void {
    this.head();
    this.putEvent('error', { error: { type: error.type, message: error.message }, request_id: this.id });
  }

  refuse(error: ApiError, headers: OutgoingHttpHeaders = {}): void {
    const { type, message } = error;
    this.respond(
      error.status,
      'application/json',
      JSON.stringify({ type: 'error', error: { type, message }, request_id: this.id }),
      headers,
    );
  }

  /** Sends a whole response that is no event stream. */
  respond(status: number, contentType: string, body: string, headers: OutgoingHttpHeaders = {}): void {
    this.head(status, { 'content-type': contentType, ...headers });
    this.#wire.put(body);
    this.end();
  }

  write(raw: string | Uint8Array): Promise<void> {
    this.head();
    this.#noteTokens();
    return this.#wire.written(typeof raw === 'string' ? Buffer.from(raw) : raw);
  }

  /** Writes everything that was added. See `Wire.flush`. */
  flush(): Promise<void> | undefined {
    this.#noteTokens();
    return this.#wire.flush();
  }

  /** Writes everything that was added, as one write. Settles when the operating system has it. */
  written(): Promise<void> {
    this.#noteTokens();
    return this.#wire.written();
  }

  end(): void {
    this.head();
    this.#noteTokens();
    this.#wire.end();
  }

  destroy(): void {
    this.#wire.destroy();
  }

  pause(durationMs: number): Promise<void> {
    return this.#wire.pause(durationMs);
  }

  // --------------------------------------------------------------------------------------------------------------

  #put(name: string, data: string): void {
    const { eventLines, newline } = this.framing;
    this.#wire.put(
      eventLines ? `event: ${name}${newline}data: ${data}${newline}${newline}` : `data: ${data}${newline}${newline}`,
    );
  }

  #putPing(): void {
    this.#put('ping', '{"type": "ping"}');
  }

  #noteTokens(): void {
    if (!this.over) this.tokensSent = this.#blockTokens + Math.ceil(this.#blockChars / charsPerToken);
  }
}

/** The text of a delta that counts as output; undefined for delta kinds without any. */
export function deltaContent(delta: Delta): string | undefined {
  const content = delta['text'] ?? delta['thinking'] ?? delta['partial_json'];
  return typeof content === 'string' ? content : undefined;
}
