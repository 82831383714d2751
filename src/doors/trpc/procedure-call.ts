/** Running a procedure of the router by tRPC's public functions, for the doors that write their own wire. Knows no transport. */
import { callTRPCProcedure, type AnyTRPCRouter, type TRPCProcedureType } from '@trpc/server';

export interface ProcedureCall {
  readonly type: TRPCProcedureType;
  readonly path: string;
  readonly input: unknown;
  /** The cursor that a client which reconnects sends beside its input. It outranks the cursor in the input. */
  readonly lastEventId?: string | undefined;
}

/** @throws TRPCError for an unknown path, and what the procedure throws. */
export function callProcedure(
  router: AnyTRPCRouter,
  { type, path, input, lastEventId }: ProcedureCall,
  ctx: object,
  signal: AbortSignal,
): Promise<unknown> {
  const resumed = withLastEventId(input, lastEventId);
  return callTRPCProcedure({ router, path, getRawInput: async () => resumed, ctx, type, signal, batchIndex: 0 });
}

function withLastEventId(input: unknown, lastEventId: string | undefined): unknown {
  if (lastEventId === undefined) return input;
  return typeof input === 'object' && input !== null ? { ...input, lastEventId } : (input ?? { lastEventId });
}
