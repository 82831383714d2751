/** Who sent a request, as authentication found it, and what they may do. */
export interface Caller {
  /** Owns the generations that are started under it. The same generationId under another name is another generation. */
  readonly name: string;
  /** Names of the configs that it may use; the others do not exist for it. Unless given: every config. */
  readonly configs?: readonly string[] | undefined;
  /** Limits of the service that have other values for this caller. */
  readonly limits?: CallerLimits | undefined;
}

/** The limits that can differ from caller to caller. README lists them, under names such as `LLM_GENERATIONS_PER_CALLER_MAX`. */
export interface CallerLimits {
  /** Generations that run at once. */
  readonly generationsPerCallerMax?: number | undefined;
  /** Viewers at once. */
  readonly viewersPerCallerMax?: number | undefined;
  /** WebSockets open at once. */
  readonly socketsPerCallerMax?: number | undefined;
  /** Generations that may be started in a minute. */
  readonly startsPerMinuteMax?: number | undefined;
  /** Tokens that generations may take in a day. */
  readonly tokensPerCallerPerDayMax?: number | undefined;
  /** US dollars that generations may cost in a day. */
  readonly costPerCallerPerDayMax?: number | undefined;
}

/** Whether a config exists for a caller. */
export function mayUse({ configs }: Caller, config: string): boolean {
  return configs === undefined || configs.includes(config);
}
