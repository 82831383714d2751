/**
 * Log lines of refusals, so many a second for each code: whoever asks again and again, or attacks, must not fill a disk, and
 * one kind must not hide another. Those that are left out are counted, and the count is logged.
 */
import { errorTable } from '../errors.ts';
import type { LlmLogger } from './log-lines.ts';
import type { ErrorCode } from '../protocol.ts';

/** By which way the request came in; `http` is a route that belongs to no door, `embedded` somebody else's tRPC app. */
export type RefusalDoor = 'sse' | 'websocket' | 'trpc' | 'rest' | 'http' | 'embedded';

export interface Refusal {
  readonly door: RefusalDoor;
  readonly code: ErrorCode;
  /** Ours; the refusal bears it as well. */
  readonly requestId: string;
  /** The caller's name, where it is known by then. */
  readonly caller?: string | undefined;
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

  /** Logs now how many lines were left out of this second, since the process may end before it does. */
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

/** A warning where somebody may have to act: keys, origins, limits, bugs of ours. Others are their sender's affair. */
function levelOf(code: ErrorCode): 'warn' | 'info' {
  const { status } = errorTable[code];
  return status === 401 || status === 403 || status === 429 || status >= 500 ? 'warn' : 'info';
}
