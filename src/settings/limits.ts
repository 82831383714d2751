/**
 * Every bound on what clients and their connections may cost. With the defaults one anonymous caller can run 2,000
 * generations and 3,000 viewers at once. settings.ts reads the limits from the environment, README lists them.
 */
import { defaultInputLimits } from '../protocol.ts';
import type { Limits } from './limit-values.ts';
import { amount, durationMs, wholeNumber } from './rules.ts';
import { decimals, digits, type Variable } from './variable.ts';

export type { Limits } from './limit-values.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const minuteMs = 60_000;

/** The end of the name says the unit: `_BYTES_MAX`, `_CHARS_MAX` or `_MS`. Every other limit counts things, or dollars. */
export interface Limit {
  readonly name: string;
  /** Infinity: there is no such limit unless it is set. */
  readonly default: number;
  readonly min: number;
  readonly meaning: string;
  /**
   * With `REDIS_URL`, where several instances may serve the same callers: whether it bounds what all of them do together, or each, or
   * nothing. Absent for what bounds one request, connection or generation, and for times.
   */
  readonly scope?: 'all instances' | 'each instance' | 'no effect';
  /** Set where the limit is an amount of money, which may have decimals. */
  readonly dollars?: true;
}

const input = defaultInputLimits;

export const limits = {
  bodyBytesMax: {
    name: 'LLM_BODY_BYTES_MAX',
    default: 10 * MiB,
    min: KiB,
    meaning: 'The size of one request, over any door',
  },
  jsonValuesMax: {
    name: 'LLM_JSON_VALUES_MAX',
    default: 200_000,
    min: 100,
    meaning: 'Values in the JSON of a request; keys and lists count too',
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
    meaning: 'The length of a variable’s value',
  },
  generationsMax: {
    name: 'LLM_GENERATIONS_MAX',
    default: 5_000,
    min: 1,
    meaning: 'Generations that run at once, of all callers',
    scope: 'each instance',
  },
  generationsPerCallerMax: {
    name: 'LLM_GENERATIONS_PER_CALLER_MAX',
    default: 2_000,
    min: 1,
    meaning: 'Generations of a caller that run at once',
    scope: 'all instances',
  },
  viewersMax: {
    name: 'LLM_VIEWERS_MAX',
    default: 4_000,
    min: 1,
    meaning: 'Viewers at once, of all callers',
    scope: 'each instance',
  },
  viewersPerCallerMax: {
    name: 'LLM_VIEWERS_PER_CALLER_MAX',
    default: 3_000,
    min: 1,
    meaning: 'Viewers of a caller at once',
    scope: 'each instance',
  },
  startsPerMinuteMax: {
    name: 'LLM_STARTS_PER_MINUTE_MAX',
    default: 60_000,
    min: 1,
    meaning: 'Generations that a caller may start in a minute',
    scope: 'all instances',
  },
  tokensPerCallerPerDayMax: {
    name: 'LLM_TOKENS_PER_CALLER_PER_DAY_MAX',
    default: Infinity,
    min: 0,
    meaning:
      'Tokens of input and output, cached ones too, that a caller’s generations may take in a day of UTC, counted at their ends; then its starts are `rate_limited` until the day is over',
    scope: 'all instances',
  },
  costPerCallerPerDayMax: {
    name: 'LLM_COST_PER_CALLER_PER_DAY_MAX',
    default: Infinity,
    min: 0,
    dollars: true,
    meaning: 'US dollars that they may cost in a day, in the same way; models without a known price count nothing',
    scope: 'all instances',
  },
  heldBytesMax: {
    name: 'LLM_HELD_BYTES_MAX',
    default: 256 * MiB,
    min: KiB,
    meaning:
      'Memory for requests that are read or run, for content blocks that aren’t in a log yet, and for responses that wait for their readers, of all callers',
    scope: 'each instance',
  },
  heldBytesPerCallerMax: {
    name: 'LLM_HELD_BYTES_PER_CALLER_MAX',
    default: 192 * MiB,
    min: KiB,
    meaning: 'The same memory, of one caller',
    scope: 'each instance',
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
    meaning: 'Calls in progress on a WebSocket; while there are this many, the service reads no further messages of it',
  },
  pipelinedMax: {
    name: 'LLM_PIPELINED_MAX',
    default: 100,
    min: 1,
    meaning: 'Requests on one HTTP connection that are not answered yet; with more, the connection is closed',
  },
  answerBytesMax: {
    name: 'LLM_ANSWER_BYTES_MAX',
    default: 4 * MiB,
    min: KiB,
    meaning: 'Snapshots and lists that one request asks for together; a single one may be larger',
  },
  socketsMax: {
    name: 'LLM_SOCKETS_MAX',
    default: 5_000,
    min: 1,
    meaning: 'WebSockets of known callers open at once',
    scope: 'each instance',
  },
  socketsPerCallerMax: {
    name: 'LLM_SOCKETS_PER_CALLER_MAX',
    default: 4_000,
    min: 1,
    meaning: 'WebSockets of a caller open at once; where there are keys, at most four fifths of `LLM_SOCKETS_MAX`',
    scope: 'each instance',
  },
  socketsPerAddressMax: {
    name: 'LLM_SOCKETS_PER_ADDRESS_MAX',
    default: Infinity,
    min: 1,
    meaning:
      'WebSockets open at once from one address, an IPv6 network of 64 bits being one; behind a proxy set `LLM_TRUSTED_PROXIES`; further ones are `rate_limited`',
    scope: 'each instance',
  },
  unprovenSocketsMax: {
    name: 'LLM_UNPROVEN_SOCKETS_MAX',
    default: 200,
    min: 1,
    meaning: 'WebSockets that have not shown a key yet, where there are keys; with more, the oldest is closed',
    scope: 'each instance',
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
      'The stream log of one generation, and what is held of its answer beside the log; with more, the generation ends with `log_limit`',
  },
  logsBytesMax: {
    name: 'LLM_LOGS_BYTES_MAX',
    default: 384 * MiB,
    min: KiB,
    meaning:
      'All stream logs in the process’s memory; not less than `LLM_LOG_BYTES_MAX`. With more, logs of ended generations are dropped, those of the caller that holds the most first; where none is left, new generations are refused. With `REDIS_URL`: the logs of generations that run here, and copies of those that viewers here follow',
    scope: 'each instance',
  },
  logsBytesPerCallerMax: {
    name: 'LLM_LOGS_BYTES_PER_CALLER_MAX',
    default: 256 * MiB,
    min: KiB,
    meaning:
      'The same logs, of one caller; not less than `LLM_LOG_BYTES_MAX`. With more, logs of its ended generations are dropped; where none is left, its new generations are refused',
    scope: 'each instance',
  },
  logRetentionMs: {
    name: 'LLM_LOG_RETENTION_MS',
    default: 10 * minuteMs,
    min: 0,
    meaning: 'How long a stream log is kept after its generation has ended',
  },
  tombstonesMax: {
    name: 'LLM_TOMBSTONES_MAX',
    default: 100_000,
    min: 1,
    meaning: 'Spent ids that are remembered; with more, the oldest id of the caller that has the most is forgotten',
    scope: 'no effect',
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
      'Ids that can’t be started because they were cancelled before they were started, of all callers; with more, the oldest id of the caller that has the most is forgotten',
    scope: 'no effect',
  },
  barsPerCallerMax: {
    name: 'LLM_BARS_PER_CALLER_MAX',
    default: 1_000,
    min: 1,
    meaning: 'The same ids, of one caller; with more, its cancels of generations that don’t exist are refused',
    scope: 'all instances',
  },
  viewerBatchBytesMax: {
    name: 'LLM_VIEWER_BATCH_BYTES_MAX',
    default: 64 * KiB,
    min: KiB,
    meaning:
      'Bytes of events that a viewer takes from a stream log at once. One event that is larger is taken whole, by itself',
  },
  socketBufferBytesMax: {
    name: 'LLM_SOCKET_BUFFER_BYTES_MAX',
    default: 64 * KiB,
    min: KiB,
    meaning: 'Unsent bytes of a connection; while there are more, its door waits',
  },
  socketStallMs: {
    name: 'LLM_SOCKET_STALL_MS',
    default: minuteMs,
    min: 1,
    meaning: 'How long a client may read nothing of what waits for it before its connection is closed',
  },
  heartbeatMs: {
    name: 'LLM_HEARTBEAT_MS',
    default: 5_000,
    min: 1,
    meaning:
      'Time between two heartbeats of a quiet connection; after two missed ones, clients take the connection for lost',
  },
  reconnectMs: {
    name: 'LLM_RECONNECT_MS',
    default: 1_000,
    min: 0,
    meaning: 'How long an SSE client waits before it reconnects',
  },
  redisFlushMs: {
    name: 'LLM_REDIS_FLUSH_MS',
    default: 5,
    min: 0,
    meaning:
      'With `REDIS_URL`: how often new events are sent to Redis. It adds up to this delay; a higher value saves CPU',
  },
  redisOutageMs: {
    name: 'LLM_REDIS_OUTAGE_MS',
    default: minuteMs,
    min: 1,
    meaning:
      'With `REDIS_URL`: how long Redis may be out of reach before running generations are stopped; they end as `producer_lost`',
  },
  toolResultBytesMax: {
    name: 'LLM_TOOL_RESULT_BYTES_MAX',
    default: 256 * KiB,
    min: KiB,
    meaning: 'The result of one call of a tool, as JSON',
  },
  waitingMax: {
    name: 'LLM_WAITING_MAX',
    default: 1_000,
    min: 0,
    meaning:
      'Generations that wait for results or approvals of clients at once, of all callers; with more, a generation ends instead of waiting',
  },
  waitingPerCallerMax: {
    name: 'LLM_WAITING_PER_CALLER_MAX',
    default: 500,
    min: 0,
    meaning: 'The same generations, of one caller',
  },
  drainMs: {
    name: 'LLM_DRAIN_MS',
    default: 30_000,
    min: 0,
    meaning: 'Time that running generations have to finish when the process is asked to end',
  },
} as const satisfies Record<keyof Limits, Limit>;

/** What a limit may be set to. */
export function limitRule({ name, min, dollars }: Limit) {
  if (dollars) return amount(min);
  return name.endsWith('_MS') ? durationMs(min) : wholeNumber(min);
}

export const limitVariables = Object.fromEntries(
  Object.entries<Limit>(limits).map(([key, limit]) => [key, variableOf(limit)]),
) as { readonly [Key in keyof Limits]: Variable<number> };

function variableOf(limit: Limit): Variable<number> {
  return { ...limit, rule: (limit.dollars ? decimals : digits)(limitRule(limit)) };
}
