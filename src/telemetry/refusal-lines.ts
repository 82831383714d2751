/**
 * Writes the log lines of refusals, a limited number each second for each code. So a client that asks again and again, or an
 * attacker, can't fill a disk, and refusals of one code don't hide those of another. Refusals without a line are counted, and
 * the count is logged.
 */
import { errorTable } from '../errors.ts';
import type { LlmLogger } from './log-lines.ts';
import type { ErrorCode } from '../protocol.ts';

/** The door that received the request. `http` stands for a route that belongs to no door, `embedded` for somebody else's tRPC app. */
export type RefusalDoor =
  | 'sse'
  | 'websocket'
  | 'trpc'
  | 'rest'
  | 'ui'
  | 'ag-ui'
  | 'openai'
  | 'anthropic'
  | 'http'
  | 'embedded';

export interface Refusal {
  readonly door: RefusalDoor;
  readonly code: ErrorCode;
  /** The id that the service gave the request; the refusal holds it too. */
  readonly requestId: string;
  /** The caller's name; absent where the caller isn't known. */
  readonly caller?: string | undefined;
  /** The request's trace; absent where nothing is traced. */
  readonly traceId?: string | undefined;
}

const linesPerSecondMax = 10;
const secondMs = 1_000;

interface Second {
  readonly code: ErrorCode;
  readonly endsAtMs: number;
  lines: number;
  leftOut: number;
}

export class RefusalLines {
  readonly #log: LlmLogger;
  readonly #seconds = new Map<ErrorCode, Second>();

  constructor(log: LlmLogger) {
    this.#log = log;
  }

  write(refusal: Refusal): void {
    const { code } = refusal;
    const second = this.#secondOf(code);
    if (second.lines < linesPerSecondMax) {
      second.lines += 1;
      this.#log[levelOf(code)](refusal, 'refused');
      return;
    }
    if (second.leftOut === 0) {
      setTimeout(() => this.#writeLeftOut(second), second.endsAtMs - performance.now()).unref();
    }
    second.leftOut += 1;
  }

  /** Logs the counts of the current second now, since the process may end before the second does. */
  flush(): void {
    for (const second of this.#seconds.values()) this.#writeLeftOut(second);
  }

  #secondOf(code: ErrorCode): Second {
    const nowMs = performance.now();
    let second = this.#seconds.get(code);
    if (!second || nowMs >= second.endsAtMs) {
      if (second) this.#writeLeftOut(second);
      second = { code, endsAtMs: nowMs + secondMs, lines: 0, leftOut: 0 };
      this.#seconds.set(code, second);
    }
    return second;
  }

  #writeLeftOut(second: Second): void {
    const { code, leftOut } = second;
    if (leftOut === 0) return;
    second.leftOut = 0;
    this.#log[levelOf(code)]({ code, leftOut }, 'more were refused');
  }
}

/** A warning where an operator may have to act: keys, origins, limits, bugs of this service. Other refusals concern their sender only. */
function levelOf(code: ErrorCode): 'warn' | 'info' {
  const { status } = errorTable[code];
  return status === 401 || status === 403 || status === 429 || status >= 500 ? 'warn' : 'info';
}
