/**
 * Running a procedure of the router and telling how it failed, by tRPC's public functions: what the tRPC doors do alike.
 * Knows no transport.
 */
import {
  callTRPCProcedure,
  getTRPCErrorFromUnknown,
  getTRPCErrorShape,
  type AnyTRPCRouter,
  type TRPCProcedureType,
} from '@trpc/server';
import { codedError, type RequestNote } from './router.ts';
import type { Telemetry } from '../../telemetry/telemetry.ts';

export interface ProcedureCall {
  readonly type: TRPCProcedureType;
  readonly path: string;
  readonly input: unknown;
  /** What a client that reconnects says beside its input; outranks what is in there. */
  readonly lastEventId?: string | undefined;
}

/** @throws TRPCError for a path that there isn't, and what the procedure throws. */
export function callProcedure(
  router: AnyTRPCRouter,
  { type, path, input, lastEventId }: ProcedureCall,
  ctx: object,
  signal: AbortSignal,
): Promise<unknown> {
  const resumed = withLastEventId(input, lastEventId);
  return callTRPCProcedure({ router, path, getRawInput: async () => resumed, ctx, type, signal, batchIndex: 0 });
}

/** Logs that a request was refused; to be called once for each, where its door knows that it is. */
export function logRefusal(telemetry: Telemetry, cause: unknown, { door, requestId, caller }: RequestNote): void {
  telemetry.refused({ door, code: codedError(cause).code, requestId, caller });
}

/** The error as tRPC's links read it. What is known of the call goes to the router's formatter. */
export function errorOnWire(
  router: AnyTRPCRouter,
  cause: unknown,
  call: Partial<ProcedureCall>,
  ctx?: object,
): unknown {
  const config = router._def._config;
  const { type = 'unknown', path, input } = call;
  const shape: unknown = getTRPCErrorShape({ config, error: getTRPCErrorFromUnknown(cause), type, path, input, ctx });
  return config.transformer.output.serialize(shape);
}

function withLastEventId(input: unknown, lastEventId: string | undefined): unknown {
  if (lastEventId === undefined) return input;
  return typeof input === 'object' && input !== null ? { ...input, lastEventId } : (input ?? { lastEventId });
}
