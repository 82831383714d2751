/**
 * The faults: everything that can go wrong with an upstream, by name, each with its description and the function that
 * plays it. A new fault is a new entry here. A fault that stalls holds the connection open until the client closes it.
 */
import type { OutgoingHttpHeaders } from 'node:http';
import { Pace } from './pace.ts';
import {
  beginMessage,
  streamDeltas,
  streamMessage,
  streamText,
  textDeltas,
  type Deltas,
  type Stage,
} from './streaming.ts';
import type { ApiError } from './validation.ts';

/** One fault. */
export interface Fault {
  /** What it does, in one line, for help and README. */
  readonly description: string;
  /** Sends it. Settles when the simulator has nothing more to send. */
  play(stage: Stage, text: Deltas, arg: number | undefined): void | Promise<void>;
}

const rateLimited: ApiError = {
  status: 429,
  type: 'rate_limit_error',
  message: "This request would exceed your organization's rate limit",
};
const overloaded: ApiError = { status: 529, type: 'overloaded_error', message: 'Overloaded' };
const unknownModel = {
  type: 'invalid_request_error',
  message: 'model: unknown to the simulator, as it was asked to say',
};
const internal: ApiError = { status: 500, type: 'api_error', message: 'Internal server error' };

export const faultTable = {
  unauthorized: refusal('401 authentication_error', {
    status: 401,
    type: 'authentication_error',
    message: 'invalid x-api-key',
  }),
  invalid_request: refusal('400 invalid_request_error', {
    status: 400,
    type: 'invalid_request_error',
    message: 'messages: refused by the simulator, as it was asked to',
  }),
  too_large: refusal('413 request_too_large', {
    status: 413,
    type: 'request_too_large',
    message: 'Request exceeds the maximum size',
  }),
  rate_limited: refusal('429 rate_limit_error without retry-after', rateLimited),
  rate_limited_retry_after: refusal(
    '429 rate_limit_error with retry-after; ARG: seconds, 1 unless given',
    rateLimited,
    (arg) => ({ 'retry-after': String(arg ?? 1) }),
  ),
  overloaded: refusal('529 overloaded_error', overloaded),
  server_error: refusal('500 api_error', internal),

  overloaded_first_event: {
    description: '200, and an overloaded_error as its first event',
    play: ({ exchange }) => endWithError(exchange, overloaded),
  },
  error_mid_stream: {
    description: 'an api_error event after some text',
    async play(stage, text) {
      await streamText(stage, text);
      endWithError(stage.exchange, internal);
    },
  },
  overloaded_mid_stream: {
    description: 'an overloaded_error event after some text',
    async play(stage, text) {
      await streamText(stage, text);
      endWithError(stage.exchange, overloaded);
    },
  },

  cut_before_headers: {
    description: 'the connection is cut before anything is sent',
    play: ({ exchange }) => exchange.destroy(),
  },
  socket_cut: {
    description: 'the connection is cut in the middle of an event, after some text',
    async play(stage, text) {
      await streamText(stage, text);
      await stage.exchange.write(halfEvent);
      stage.exchange.destroy();
    },
  },
  clean_end: {
    description: 'the response ends cleanly after some text, without message_stop',
    async play(stage, text) {
      await streamText(stage, text);
      stage.exchange.end();
    },
  },
  half_event: {
    description: 'the response ends cleanly in the middle of an event',
    async play(stage, text) {
      await streamText(stage, text);
      await stage.exchange.write(halfEvent);
      stage.exchange.end();
    },
  },
  no_blank_line: {
    description: 'message_stop comes without its blank line, then the response ends cleanly',
    async play(stage, text) {
      await streamText(stage, text);
      stage.exchange.putMessageDelta('end_turn');
      await stage.exchange.write('event: message_stop\ndata: {"type":"message_stop"}\n');
      stage.exchange.end();
    },
  },

  stall_first_byte: {
    description: 'not even the headers come',
    play: ({ exchange }) => closed(exchange),
  },
  stall_headers: {
    description: 'the headers come, and nothing else',
    play({ exchange }) {
      exchange.head();
      return closed(exchange);
    },
  },
  stall_mid_stream: {
    description: 'some text, then nothing',
    async play(stage, text) {
      await streamText(stage, text);
      await stage.exchange.written();
      await closed(stage.exchange);
    },
  },
  stall_with_pings: {
    description: 'some text in a block that ends, then nothing but pings; ARG: ms between them, 1000 unless given',
    async play(stage, text, arg = 1000) {
      await streamText(stage, text);
      stage.exchange.endBlock();
      while (!stage.exchange.over) {
        await stage.exchange.ping();
        await stage.exchange.pause(arg);
      }
    },
  },
  quiet_thinking: {
    description:
      'a block of hidden thinking in which nothing comes but ten pings, then text; ARG: ms between them, 20 unless given',
    async play(stage, text, arg = 20) {
      const { exchange } = stage;
      await beginMessage(stage);
      exchange.startBlock({ type: 'thinking', thinking: '', signature: '' });
      for (let pings = 0; pings < 10 && !exchange.over; pings += 1) {
        await exchange.ping();
        await exchange.pause(arg);
      }
      await exchange.delta({ type: 'signature_delta', signature: 'c2lnbmVk' });
      exchange.startBlock();
      await streamDeltas(stage, textDeltas('text', text, stage.random));
      exchange.finish();
    },
  },

  malformed_json: {
    description: 'one event of an otherwise good stream holds broken JSON',
    async play(stage, text) {
      await streamText(stage, text);
      await stage.exchange.event(
        'content_block_delta',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_',
      );
      stage.exchange.finish();
    },
  },
  html_200: {
    description: '200 with an HTML page, as a captive proxy sends it',
    play: ({ exchange }) =>
      exchange.respond(200, 'text/html; charset=utf-8', '<!doctype html><title>Sign in</title><h1>Please sign in</h1>'),
  },
  empty_200: {
    description: '200 with the content type of a stream and no body',
    play: ({ exchange }) => exchange.end(),
  },
  json_200: {
    description: '200 with a whole message as JSON instead of a stream',
    play: ({ exchange }, text) => exchange.respond(200, 'application/json', wholeMessage(exchange.id, text)),
  },

  json_200_error: {
    description: '200 with an error as JSON instead of a stream',
    play: ({ exchange }) => exchange.respond(200, 'application/json', JSON.stringify({ error: unknownModel })),
  },
  no_such_path: {
    description: '404 in plain words, as of a server that knows no such path',
    play: ({ exchange }) => exchange.respond(404, 'text/plain; charset=utf-8', '404 page not found\n'),
  },
  no_retry: {
    description: '500 api_error with x-should-retry: false',
    play: ({ exchange }) => exchange.refuse(internal, { 'x-should-retry': 'false' }),
  },
  gzip: {
    description: 'a good stream, compressed though nobody asked for it',
    play(stage, text) {
      stage.exchange.compress();
      return streamMessage(stage, good(text));
    },
  },
  unknown_encoding: {
    description: '200 with a content-encoding that nobody knows',
    play: ({ exchange }) =>
      exchange.respond(200, 'text/event-stream; charset=utf-8', 'scrambled', { 'content-encoding': 'rot13' }),
  },

  bare_error: {
    description: 'as its first event an invalid_request_error without a type and without an event: line',
    async play({ exchange }) {
      exchange.framing.eventLines = false;
      await exchange.event('', { error: unknownModel });
      exchange.end();
    },
  },
  bare_error_mid_stream: {
    description: 'after some text, an error of which there is but a status and a sentence',
    async play(stage, text) {
      stage.exchange.framing.eventLines = false;
      await streamText(stage, text);
      await stage.exchange.event('', { error: { code: 529, message: 'The engine is busy' } });
      stage.exchange.end();
    },
  },
  split_pair: {
    description: 'a good stream in which each emoji (🙂) is cut in two',
    async play(stage, text) {
      await beginMessage(stage);
      stage.exchange.startBlock();
      const whole = typeof text === 'string' ? text : [...text].join('');
      // Without the flag `u`, a pattern matches the halves of a surrogate pair.
      const pieces = whole.split(/(?<=[\ud800-\udbff])(?=[\udc00-\udfff])/);
      await streamDeltas(stage, textDeltas('text', pieces, stage.random));
      stage.exchange.finish();
    },
  },
  zero_usage: {
    description: 'a good stream whose message_delta says zero for every number but that of the output',
    async play(stage, text) {
      await streamText(stage, text);
      stage.exchange.putMessageEnd('end_turn', { zeros: true });
      stage.exchange.end();
    },
  },
  data_only: {
    description: 'a good stream without event: lines',
    play(stage, text) {
      stage.exchange.framing.eventLines = false;
      return streamMessage(stage, good(text));
    },
  },
  data_only_error: {
    description: 'an api_error after some text, in a stream without event: lines',
    async play(stage, text) {
      stage.exchange.framing.eventLines = false;
      await streamText(stage, text);
      endWithError(stage.exchange, internal);
    },
  },
  crlf: {
    description: 'a good stream whose lines end in CR LF',
    play(stage, text) {
      stage.exchange.framing.newline = '\r\n';
      return streamMessage(stage, good(text));
    },
  },
  unknown_events: {
    description: 'a good stream with events of unknown kinds in between',
    async play(stage, text) {
      const { exchange } = stage;
      await beginMessage(stage);
      await exchange.event('weather_report', { type: 'weather_report', outlook: 'unknown' });
      for (const delta of textDeltas('text', text, stage.random)) {
        await streamDeltas(stage, [delta]);
        await exchange.event('weather_report', { type: 'weather_report', index: 0, delta: { type: 'rain_delta' } });
        if (exchange.over) return;
      }
      exchange.endBlock();
      await exchange.event('untyped', {});
      exchange.finish();
    },
  },
  unknown_blocks: {
    description: 'a good stream with content blocks and deltas of unknown kinds before and after its text',
    play: (stage, text) =>
      streamMessage(stage, {
        kind: 'blocks',
        blocks: [
          { type: 'hologram', shape: 'cube', faces: { count: 6 } },
          { type: 'text', text },
          {
            type: 'melody',
            notes: '',
            deltas: [
              { type: 'melody_delta', notes: 'c d ' },
              { type: 'melody_delta', notes: 'e', tempo: 120 },
            ],
          },
        ],
      }),
  },
  two_message_starts: {
    description: 'a second message_start after some text, and then a good end',
    async play(stage, text) {
      await streamText(stage, text);
      stage.exchange.putMessageStart();
      stage.exchange.finish();
    },
  },
  held_open: {
    description: 'a good stream, but the response stays open after message_stop',
    async play(stage, text) {
      await streamText(stage, text);
      stage.exchange.putMessageEnd('end_turn');
      await stage.exchange.written();
      await closed(stage.exchange);
    },
  },
  slow: {
    description: 'a good stream, very slowly; ARG: ms for each token, 250 unless given',
    play({ exchange, random }, text, arg = 250) {
      const pace = new Pace({ tokensPerSecond: 1000 / Math.max(1, arg), firstTokenMs: 0, onePerWrite: false }, random);
      return streamMessage({ exchange, random, pace }, good(text));
    },
  },
} satisfies Record<string, Fault>;

/** The name of a fault, as the option `fault` takes it. */
export type FaultName = keyof typeof faultTable;

const halfEvent = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_del';

function refusal(
  description: string,
  error: ApiError,
  headers?: (arg: number | undefined) => OutgoingHttpHeaders,
): Fault {
  return { description, play: ({ exchange }, _text, arg) => exchange.refuse(error, headers?.(arg)) };
}

function good(text: Deltas) {
  return { kind: 'blocks', blocks: [{ type: 'text', text }] } as const;
}

function endWithError(exchange: Stage['exchange'], error: ApiError): void {
  exchange.putError(error);
  exchange.end();
}

function wholeMessage(id: string, text: Deltas): string {
  return JSON.stringify({
    id: id.replace('req', 'msg'),
    type: 'message',
    role: 'assistant',
    content: [{ type: 'text', text: typeof text === 'string' ? text : [...text].join('') }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: { input_tokens: 1, output_tokens: 1 },
  });
}

async function closed(exchange: Stage['exchange']): Promise<void> {
  await exchange.outcome;
}
