/** The type of the limits. `npm run fix` prints this file from limits.ts: change the table there. */

/** Bounds on what clients may cost. The end of a name says what is counted: bytes, characters, milliseconds (`Ms`) or things. */
export interface Limits {
  /** The size of one request, over any door. Default: 10485760 (10 MiB). */
  readonly bodyBytesMax: number;
  /** Values in the JSON of a request; keys and lists count too. Default: 200000. */
  readonly jsonValuesMax: number;
  /** Messages of a request. Default: 2000. */
  readonly messagesMax: number;
  /** Content blocks of a message. Default: 1000. */
  readonly blocksPerMessageMax: number;
  /** Levels of nesting in a content block. Default: 32. */
  readonly blockDepthMax: number;
  /** Variables of a request. Default: 100. */
  readonly variablesMax: number;
  /** The length of a variable’s value. Default: 100000. */
  readonly variableCharsMax: number;
  /** Generations that run at once, of all callers. Default: 5000. */
  readonly generationsMax: number;
  /** Generations of a caller that run at once. Default: 2000. */
  readonly generationsPerCallerMax: number;
  /** Viewers at once, of all callers. Default: 4000. */
  readonly viewersMax: number;
  /** Viewers of a caller at once. Default: 3000. */
  readonly viewersPerCallerMax: number;
  /** Generations that a caller may start in a minute. Default: 60000. */
  readonly startsPerMinuteMax: number;
  /**
   * Tokens of input and output, cached ones too, that a caller’s generations may take in a day of UTC, counted at
   * their ends; then its starts are `rate_limited` until the day is over. Default: Infinity.
   */
  readonly tokensPerCallerPerDayMax: number;
  /**
   * US dollars that they may cost in a day, in the same way; models without a known price count nothing. Default:
   * Infinity.
   */
  readonly costPerCallerPerDayMax: number;
  /**
   * Memory for requests that are read or run, for content blocks that aren’t in a log yet, and for responses that
   * wait for their readers, of all callers. Default: 268435456 (256 MiB).
   */
  readonly heldBytesMax: number;
  /** The same memory, of one caller. Default: 201326592. */
  readonly heldBytesPerCallerMax: number;
  /** Subscriptions open on a WebSocket. Default: 2000. */
  readonly subscriptionsPerSocketMax: number;
  /**
   * Calls in progress on a WebSocket; while there are this many, the service reads no further messages of it.
   * Default: 100.
   */
  readonly callsPerSocketMax: number;
  /** Requests on one HTTP connection that are not answered yet; with more, the connection is closed. Default: 100. */
  readonly pipelinedMax: number;
  /** Snapshots and lists that one request asks for together; a single one may be larger. Default: 4194304 (4 MiB). */
  readonly answerBytesMax: number;
  /** WebSockets of known callers open at once. Default: 5000. */
  readonly socketsMax: number;
  /**
   * WebSockets of a caller open at once; where there are keys, at most four fifths of `LLM_SOCKETS_MAX`. Default:
   * 4000.
   */
  readonly socketsPerCallerMax: number;
  /**
   * WebSockets open at once from one address, an IPv6 network of 64 bits being one; behind a proxy set
   * `LLM_TRUSTED_PROXIES`; further ones are `rate_limited`. Default: Infinity.
   */
  readonly socketsPerAddressMax: number;
  /** WebSockets that have not shown a key yet, where there are keys; with more, the oldest is closed. Default: 200. */
  readonly unprovenSocketsMax: number;
  /**
   * Time for a WebSocket to send its connection params, or to show a key where there are keys. Default: 10000 (10
   * s).
   */
  readonly connectionParamsMs: number;
  /**
   * The stream log of one generation, and what is held of its answer beside the log; with more, the generation ends
   * with `log_limit`. Default: 33554432 (32 MiB).
   */
  readonly logBytesMax: number;
  /**
   * All stream logs in the process’s memory; not less than `LLM_LOG_BYTES_MAX`. With more, logs of ended
   * generations are dropped, those of the caller that holds the most first; where none is left, new generations are
   * refused. With `REDIS_URL`: the logs of generations that run here, and copies of those that viewers here follow.
   * Default: 402653184 (384 MiB).
   */
  readonly logsBytesMax: number;
  /**
   * The same logs, of one caller; not less than `LLM_LOG_BYTES_MAX`. With more, logs of its ended generations are
   * dropped; where none is left, its new generations are refused. Default: 268435456.
   */
  readonly logsBytesPerCallerMax: number;
  /** How long a stream log is kept after its generation has ended. Default: 600000 (10 min). */
  readonly logRetentionMs: number;
  /**
   * Spent ids that are remembered; with more, the oldest id of the caller that has the most is forgotten. Default:
   * 100000.
   */
  readonly tombstonesMax: number;
  /** How long a spent id is remembered; with `REDIS_URL` an hour unless set. Default: 86400000 (24 h). */
  readonly tombstoneMs: number;
  /** How long an id that was cancelled before it was started can’t be started. Default: 60000 (1 min). */
  readonly barMs: number;
  /**
   * Ids that can’t be started because they were cancelled before they were started, of all callers; with more, the
   * oldest id of the caller that has the most is forgotten. Default: 20000.
   */
  readonly barsMax: number;
  /** The same ids, of one caller; with more, its cancels of generations that don’t exist are refused. Default: 1000. */
  readonly barsPerCallerMax: number;
  /**
   * Bytes of events that a viewer takes from a stream log at once. One event that is larger is taken whole, by
   * itself. Default: 65536 (64 KiB).
   */
  readonly viewerBatchBytesMax: number;
  /** Unsent bytes of a connection; while there are more, its door waits. Default: 65536 (64 KiB). */
  readonly socketBufferBytesMax: number;
  /** How long a client may read nothing of what waits for it before its connection is closed. Default: 60000 (1 min). */
  readonly socketStallMs: number;
  /**
   * Time between two heartbeats of a quiet connection; after two missed ones, clients take the connection for lost.
   * Default: 5000 (5 s).
   */
  readonly heartbeatMs: number;
  /** How long an SSE client waits before it reconnects. Default: 1000 (1 s). */
  readonly reconnectMs: number;
  /**
   * With `REDIS_URL`: how often new events are sent to Redis. It adds up to this delay; a higher value saves CPU.
   * Default: 5.
   */
  readonly redisFlushMs: number;
  /**
   * With `REDIS_URL`: how long Redis may be out of reach before running generations are stopped; they end as
   * `producer_lost`. Default: 60000 (1 min).
   */
  readonly redisOutageMs: number;
  /** The result of one call of a tool, as JSON. Default: 262144 (256 KiB). */
  readonly toolResultBytesMax: number;
  /**
   * Generations that wait for results or approvals of clients at once, of all callers; with more, a generation ends
   * instead of waiting. Default: 1000.
   */
  readonly waitingMax: number;
  /** The same generations, of one caller. Default: 500. */
  readonly waitingPerCallerMax: number;
  /** Time that running generations have to finish when the process is asked to end. Default: 30000 (30 s). */
  readonly drainMs: number;
}
