/**
 * How often a quiet connection gives a sign of life, and for how long a client is to believe one that gives none. A client
 * must notice and be back before its answer's grace time is over, so the shortest grace of the configs bounds both.
 */
import type { ConfigSnapshot } from '../configs/configs.ts';

export interface Liveness {
  /** Between two signs of life. */
  readonly heartbeatMs: number;
  /** After how long a client is to take a silent connection for dead: two signs of life are missing then. */
  readonly silenceMs: number;
  /** The shortest time that an answer goes on without a viewer; null where no config ever cancels. */
  readonly graceMs: number | null;
}

/** In a grace time, so that two of them may be missing and the last third is left for coming back. */
const heartbeatsPerGrace = 3;
/** A shorter grace is meant to end answers at a lost connection: nothing could notice and be back in it. */
const graceMsMin = 1_500;

/** @param heartbeatMs What the settings say, which the configs may shorten. */
export function livenessFor(configs: ConfigSnapshot, heartbeatMs: number): Liveness {
  const graces = configs.names.map((name) => configs.get(name)!.onDisconnect).filter((each) => each !== 'continue');
  const times = graces.map(({ cancelAfterMs }) => cancelAfterMs);
  const bounds = times.filter((ms) => ms >= graceMsMin).map((ms) => Math.floor(ms / heartbeatsPerGrace));
  const everyMs = Math.min(heartbeatMs, ...bounds);
  return { heartbeatMs: everyMs, silenceMs: 2 * everyMs, graceMs: times.length > 0 ? Math.min(...times) : null };
}
