/**
 * A client's connection on a bare socket: just enough of HTTP/1.1 and of WebSocket to request a stream and to read it.
 * Of the content it knows only where a subscription ends.
 */
import { connect, type Socket } from 'node:net';

/** Carries one request at a time, and can be used again after each. */
export interface Connection {
  /** Sends the request, and resolves at the end of the response. @throws Error on any other end, and on a refusal */
  ask(request: Buffer, onBytes: (bytes: Buffer) => void): Promise<void>;
  /** Stops reading for good. */
  pause(): void;
  destroy(): void;
}

abstract class SocketConnection implements Connection {
  readonly socket: Socket;
  #settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
  protected onBytes: (bytes: Buffer) => void = () => {};

  constructor(url: URL) {
    this.socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
    this.socket.on('data', (bytes: Buffer) => {
      try {
        this.read(bytes);
      } catch (error) {
        this.failed(error as Error);
      }
    });
    this.socket.on('error', (error) => this.failed(error));
    this.socket.on('close', () => this.failed(new Error('the connection was closed')));
  }

  ask(request: Buffer, onBytes: (bytes: Buffer) => void): Promise<void> {
    this.onBytes = onBytes;
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.send(request);
    });
  }

  pause(): void {
    this.socket.pause();
  }

  destroy(): void {
    this.socket.destroy();
  }

  protected abstract send(request: Buffer): void;
  protected abstract read(bytes: Buffer): void;

  protected ended(): void {
    this.#settle?.resolve();
    this.#settle = undefined;
  }

  protected failed(error: Error): void {
    this.#settle?.reject(error);
    this.#settle = undefined;
    this.socket.destroy();
  }
}

/** The longest line that the parser accepts. A longer one is neither a head nor a chunk size. */
const lineBytesMax = 16_384;

export class HttpConnection extends SocketConnection {
  #state: 'status' | 'headers' | 'body' | 'size' | 'chunk' | 'chunk end' | 'trailer' = 'status';
  #line = '';
  #chunked = false;
  /** Bytes of the chunk, or of the body, that have not arrived yet. */
  #left = 0;

  protected send(request: Buffer): void {
    this.socket.write(request);
  }

  protected read(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === 'chunk' || this.#state === 'body') {
        const end = Math.min(bytes.length, at + this.#left);
        this.onBytes(bytes.subarray(at, end));
        this.#left -= end - at;
        at = end;
        if (this.#left > 0) return;
        if (this.#state === 'chunk') this.#state = 'chunk end';
        else this.#finish();
        continue;
      }
      const newline = bytes.indexOf(0x0a, at);
      this.#line += bytes.toString('latin1', at, newline < 0 ? bytes.length : newline);
      if (this.#line.length > lineBytesMax) throw new Error('a line without end');
      if (newline < 0) return;
      at = newline + 1;
      const line = this.#line.trimEnd();
      this.#line = '';
      this.#readLine(line);
    }
  }

  #readLine(line: string): void {
    switch (this.#state) {
      case 'status':
        if (!line.startsWith('HTTP/1.1 200')) throw new Error(`refused: ${line}`);
        this.#state = 'headers';
        this.#chunked = false;
        this.#left = Infinity;
        return;
      case 'headers':
        if (/^transfer-encoding: *chunked/i.test(line)) this.#chunked = true;
        else if (/^content-length:/i.test(line)) this.#left = Number(line.slice(15));
        else if (line === '') this.#state = this.#chunked ? 'size' : 'body';
        return;
      case 'size':
        this.#left = Number.parseInt(line, 16);
        this.#state = this.#left === 0 ? 'trailer' : 'chunk';
        return;
      case 'chunk end':
        this.#state = 'size';
        return;
      case 'trailer':
        if (line === '') this.#finish();
        return;
      case 'chunk':
      case 'body':
    }
  }

  #finish(): void {
    this.#state = 'status';
    this.ended();
  }
}

const opcodes = { text: 0x1, close: 0x8, ping: 0x9, pong: 0xa };

/** Speaks as much of tRPC's WebSocket protocol as one subscription at a time needs. */
export class WebSocketConnection extends SocketConnection {
  #open = false;
  #rest: Buffer = Buffer.alloc(0);
  #waiting: Buffer | undefined;

  constructor(url: URL) {
    super(url);
    this.socket.write(
      `GET ${url.pathname} HTTP/1.1\r\nhost: ${url.host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n` +
        'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    );
  }

  protected send(request: Buffer): void {
    if (this.#open) this.socket.write(frameOf(opcodes.text, request));
    else this.#waiting = request;
  }

  protected read(bytes: Buffer): void {
    let input = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    if (!this.#open) {
      const end = input.indexOf('\r\n\r\n');
      this.#rest = input;
      if (end < 0) return;
      if (!input.toString('latin1', 0, 12).startsWith('HTTP/1.1 101'))
        throw new Error(`refused: ${input.toString('latin1', 0, 40)}`);
      this.#open = true;
      if (this.#waiting) this.send(this.#waiting);
      input = input.subarray(end + 4);
    }
    this.#rest = Buffer.from(input.subarray(this.#readFrames(input)));
  }

  /**
   * Reads the frames that have arrived whole. Returns the position of the first incomplete one. RFC 6455, section 5.2.
   */
  #readFrames(input: Buffer): number {
    let at = 0;
    while (input.length - at >= 2) {
      const short = input[at + 1]! & 0x7f;
      const headBytes = short === 127 ? 10 : short === 126 ? 4 : 2;
      if (input.length - at < headBytes) break;
      const length =
        short === 127 ? Number(input.readBigUInt64BE(at + 2)) : short === 126 ? input.readUInt16BE(at + 2) : short;
      if (input.length - at < headBytes + length) break;
      this.#take(input[at]! & 0x0f, input.subarray(at + headBytes, at + headBytes + length));
      at += headBytes + length;
    }
    return at;
  }

  #take(opcode: number, payload: Buffer): void {
    if (opcode === opcodes.ping) this.socket.write(frameOf(opcodes.pong, payload));
    if (opcode === opcodes.close) throw new Error('the WebSocket was closed');
    if (opcode !== opcodes.text) return;
    // tRPC's own heartbeat is a text message.
    if (payload.length === 4 && payload.toString('latin1') === 'PING') {
      this.socket.write(frameOf(opcodes.text, Buffer.from('PONG')));
      return;
    }
    const beginning = payload.toString('latin1', 0, 60);
    if (/^\{"id":\d+,"error"/.test(beginning)) throw new Error(`refused: ${payload.toString()}`);
    if (/"type":"stopped"/.test(beginning)) this.ended();
    else this.onBytes(payload);
  }
}

/** A client's frame: masked, as RFC 6455 requires, with a mask of zeros that changes nothing. */
function frameOf(opcode: number, payload: Buffer): Buffer {
  const head =
    payload.length < 126
      ? Buffer.from([0x80 | opcode, 0x80 | payload.length])
      : Buffer.from([0x80 | opcode, 0x80 | 126, payload.length >> 8, payload.length & 0xff]);
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}
