/** What stands before a generation: who decides about places, and what a door says of a request. */
import type { Caller } from '../caller.ts';
import type { Config } from '../configs/configs.ts';
import type { RefusalDoor } from '../telemetry/refusal-lines.ts';
import type { RequestTrace } from '../telemetry/traces.ts';

/** Decides who may start a generation, and who may watch one. An attach asks for a viewer's place only. */
export interface Admission {
  /** @param requestBytes Bytes that the request takes in memory while the generation runs. */
  admitGeneration(caller: Caller, requestBytes: number): Promise<Disposable>;
  /** @param close Called when the caller may no longer watch, since its key was revoked. */
  admitViewer(caller: Caller, close: () => void): Disposable;
  /** Takes a place among the generations that wait for clients. */
  admitWaiting(caller: Caller): Disposable;
}

/** What a door knows of a request beside its caller and its content. */
export interface Entrance {
  /** The door by which the viewer is counted. Unless given: `embedded`. */
  readonly door?: RefusalDoor | undefined;
  /** The span of the request; absent where nothing is traced. */
  readonly trace?: RequestTrace | undefined;
  /** Called before a generation is started; throws where whoever asks may only attach. */
  readonly checkStart?: (() => void) | undefined;
  /** Makes the config for a generation that this request starts. Unless given, it is the one that the request names. */
  readonly adapt?: ((config: Config) => Config) | undefined;
}
