/**
 * Every bound on what clients and their connections may cost, with its default: what one anonymous caller needs to run
 * a thousand generations and viewers at once. settings.ts reads them from the environment and documents them.
 */
import { defaultInputLimits } from '../protocol.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const minuteMs = 60_000;

/** The name's end tells the unit: `_BYTES_MAX`, `_CHARS_MAX`, `_MS`; else it is a number of things. */
export interface Limit {
  readonly name: string;
  readonly default: number;
  readonly min: number;
  readonly meaning: string;
}

const input = defaultInputLimits;

export const limits = {
  bodyBytesMax: { name: 'LLM_BODY_BYTES_MAX', default: 10 * MiB, min: KiB, meaning: 'One request, over any door' },
  jsonValuesMax: {
    name: 'LLM_JSON_VALUES_MAX',
    default: 200_000,
    min: 100,
    meaning: 'Values in the JSON of a request, keys and lists included',
  },
  messagesMax: { name: 'LLM_MESSAGES_MAX', default: input.messagesMax, min: 1, meaning: 'Messages of a request' },
  blocksPerMessageMax: {
    name: 'LLM_BLOCKS_PER_MESSAGE_MAX',
    default: input.blocksPerMessageMax,
    min: 1,
    meaning: 'Content blocks of a message',
  },
  blockDepthMax: {
    name: 'LLM_BLOCK_DEPTH_MAX',
    default: input.blockDepthMax,
    min: 1,
    meaning: 'Levels of nesting in a content block',
  },
  variablesMax: { name: 'LLM_VARIABLES_MAX', default: input.variablesMax, min: 0, meaning: 'Variables of a request' },
  variableCharsMax: {
    name: 'LLM_VARIABLE_CHARS_MAX',
    default: input.variableCharsMax,
    min: 1,
    meaning: 'The value of a variable',
  },
  generationsMax: {
    name: 'LLM_GENERATIONS_MAX',
    default: 5_000,
    min: 1,
    meaning: 'Generations that run at once, of all callers',
  },
  generationsPerCallerMax: {
    name: 'LLM_GENERATIONS_PER_CALLER_MAX',
    default: 2_000,
    min: 1,
    meaning: 'Generations of a caller that run at once',
  },
  viewersMax: { name: 'LLM_VIEWERS_MAX', default: 4_000, min: 1, meaning: 'Viewers at once, of all callers' },
  viewersPerCallerMax: {
    name: 'LLM_VIEWERS_PER_CALLER_MAX',
    default: 3_000,
    min: 1,
    meaning: 'Viewers of a caller at once',
  },
  startsPerMinuteMax: {
    name: 'LLM_STARTS_PER_MINUTE_MAX',
    default: 60_000,
    min: 1,
    meaning: 'Generations that a caller may start in a minute',
  },
  heldBytesMax: {
    name: 'LLM_HELD_BYTES_MAX',
    default: 256 * MiB,
    min: KiB,
    meaning:
      'Memory for requests that are read or run, for blocks that aren’t in a log yet, and for answers that wait, of all callers',
  },
  heldBytesPerCallerMax: {
    name: 'LLM_HELD_BYTES_PER_CALLER_MAX',
    default: 192 * MiB,
    min: KiB,
    meaning: 'The same of a caller',
  },
  subscriptionsPerSocketMax: {
    name: 'LLM_SUBSCRIPTIONS_PER_SOCKET_MAX',
    default: 2_000,
    min: 1,
    meaning: 'Subscriptions open on a WebSocket',
  },
  callsPerSocketMax: {
    name: 'LLM_CALLS_PER_SOCKET_MAX',
    default: 100,
    min: 1,
    meaning: 'Calls in progress on a WebSocket, which isn’t read on meanwhile',
  },
  pipelinedMax: {
    name: 'LLM_PIPELINED_MAX',
    default: 100,
    min: 1,
    meaning: 'Requests on one HTTP connection that are not answered yet; past it the connection is closed',
  },
  answerBytesMax: {
    name: 'LLM_ANSWER_BYTES_MAX',
    default: 4 * MiB,
    min: KiB,
    meaning: 'Snapshots and lists that one request asks for together; a single one may be larger',
  },
  socketsMax: { name: 'LLM_SOCKETS_MAX', default: 5_000, min: 1, meaning: 'WebSockets of known callers open at once' },
  socketsPerCallerMax: {
    name: 'LLM_SOCKETS_PER_CALLER_MAX',
    default: 4_000,
    min: 1,
    meaning: 'WebSockets of a caller open at once; where there are keys, at most four fifths of `LLM_SOCKETS_MAX`',
  },
  unprovenSocketsMax: {
    name: 'LLM_UNPROVEN_SOCKETS_MAX',
    default: 200,
    min: 1,
    meaning: 'WebSockets that have not shown a key yet, where there are keys; past it the oldest is closed',
  },
  connectionParamsMs: {
    name: 'LLM_CONNECTION_PARAMS_MS',
    default: 10_000,
    min: 1,
    meaning: 'Time for a WebSocket to send its connection params, or to show a key where there are keys',
  },
  logBytesMax: {
    name: 'LLM_LOG_BYTES_MAX',
    default: 32 * MiB,
    min: KiB,
    meaning:
      'The stream log of one generation, which ends with `log_limit` there; and what is held of it beside its log',
  },
  logsBytesMax: {
    name: 'LLM_LOGS_BYTES_MAX',
    default: 384 * MiB,
    min: KiB,
    meaning:
      'All stream logs; not less than `LLM_LOG_BYTES_MAX`. Ended ones go first, of the caller that holds the most, then new generations are refused',
  },
  logsBytesPerCallerMax: {
    name: 'LLM_LOGS_BYTES_PER_CALLER_MAX',
    default: 256 * MiB,
    min: KiB,
    meaning:
      'All stream logs of a caller; not less than `LLM_LOG_BYTES_MAX`. Its ended ones go first, then its new generations are refused',
  },
  logRetentionMs: {
    name: 'LLM_LOG_RETENTION_MS',
    default: 10 * minuteMs,
    min: 0,
    meaning: 'How long a stream log is kept after its end',
  },
  tombstonesMax: {
    name: 'LLM_TOMBSTONES_MAX',
    default: 100_000,
    min: 1,
    meaning: 'Spent ids that are remembered; past it the oldest of whoever has the most is forgotten',
  },
  tombstoneMs: {
    name: 'LLM_TOMBSTONE_MS',
    default: 24 * 60 * minuteMs,
    min: 1,
    meaning: 'How long a spent id is remembered; with `REDIS_URL` an hour unless set',
  },
  barMs: {
    name: 'LLM_BAR_MS',
    default: minuteMs,
    min: 1,
    meaning: 'How long an id that was cancelled before it was started can’t be started',
  },
  barsMax: {
    name: 'LLM_BARS_MAX',
    default: 20_000,
    min: 1,
    meaning:
      'Ids that can’t be started since they were cancelled first, of all callers; past it the oldest of whoever has the most is forgotten',
  },
  barsPerCallerMax: {
    name: 'LLM_BARS_PER_CALLER_MAX',
    default: 1_000,
    min: 1,
    meaning: 'The same of a caller; past it, cancels of generations that aren’t there are refused',
  },
  viewerBatchBytesMax: {
    name: 'LLM_VIEWER_BATCH_BYTES_MAX',
    default: 64 * KiB,
    min: KiB,
    meaning: 'What a viewer takes from a stream log in one turn',
  },
  socketBufferBytesMax: {
    name: 'LLM_SOCKET_BUFFER_BYTES_MAX',
    default: 64 * KiB,
    min: KiB,
    meaning: 'Unsent bytes of a connection at which its door waits',
  },
  socketStallMs: {
    name: 'LLM_SOCKET_STALL_MS',
    default: minuteMs,
    min: 1,
    meaning: 'How long a connection may take nothing before it is closed',
  },
  heartbeatMs: {
    name: 'LLM_HEARTBEAT_MS',
    default: 5_000,
    min: 1,
    meaning: 'Between two heartbeats of a quiet connection; clients take two missed ones for a lost connection',
  },
  reconnectMs: {
    name: 'LLM_RECONNECT_MS',
    default: 1_000,
    min: 0,
    meaning: 'How long an SSE client is told to wait before it reconnects',
  },
  redisFlushMs: {
    name: 'LLM_REDIS_FLUSH_MS',
    default: 5,
    min: 0,
    meaning:
      'With `REDIS_URL`: between two times that new events are sent to Redis, which is the delay that it adds; more costs less CPU',
  },
  redisOutageMs: {
    name: 'LLM_REDIS_OUTAGE_MS',
    default: minuteMs,
    min: 1,
    meaning:
      'With `REDIS_URL`: how long Redis may be out of reach before running generations are stopped; they end as `producer_lost`',
  },
  drainMs: {
    name: 'LLM_DRAIN_MS',
    default: 30_000,
    min: 0,
    meaning: 'Time for running generations to finish when the process is told to end',
  },
} as const satisfies Record<string, Limit>;

/** Bounds on what clients may cost. Bytes, milliseconds, characters or numbers of things, as each name's end says. */
export type Limits = { readonly [Key in keyof typeof limits]: number };
