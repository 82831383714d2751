/**
 * How often a quiet connection sends a sign of life, and after which silence a client should reconnect. A client must notice a lost
 * connection, and be back, before the grace time of its generation is over, so the shortest grace time of all configs bounds both.
 */
import type { ConfigSnapshot } from '../configs/configs.ts';

export interface Liveness {
  /** Milliseconds between two signs of life. */
  readonly heartbeatMs: number;
  /** Milliseconds of silence after which a client should take the connection for dead: two signs of life are missing then. */
  readonly silenceMs: number;
  /** The shortest time, in milliseconds, that a generation goes on without a viewer; null where no config ever cancels. */
  readonly graceMs: number | null;
}

/** Signs of life in one grace time. After two missing ones, the last third of the time remains for reconnecting. */
const heartbeatsPerGrace = 3;
/** Nobody can notice a lost connection and be back within a shorter grace time, so shorter ones don't count. */
const graceMsMin = 1_500;

/** @param heartbeatMs The interval of the settings. The grace times of the configs may shorten it. */
export function livenessFor(configs: ConfigSnapshot, heartbeatMs: number): Liveness {
  const graces = configs.names.map((name) => configs.get(name)!.onDisconnect).filter((each) => each !== 'continue');
  const times = graces.map(({ cancelAfterMs }) => cancelAfterMs);
  const bounds = times.filter((ms) => ms >= graceMsMin).map((ms) => Math.floor(ms / heartbeatsPerGrace));
  const everyMs = Math.min(heartbeatMs, ...bounds);
  return { heartbeatMs: everyMs, silenceMs: 2 * everyMs, graceMs: times.length > 0 ? Math.min(...times) : null };
}
