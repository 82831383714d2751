/**
 * tRPC's hooks, typed by the service's own router: with its procedures, configs and variables, and without any of its
 * code.
 */
import { createTRPCContext } from '@trpc/tanstack-react-query';
import type { inferRouterInputs, inferRouterOutputs } from '@trpc/server';
import type { AppRouter } from '../../../llm.config.ts';

export const { TRPCProvider, useTRPC } = createTRPCContext<AppRouter>();

export type StreamInput = inferRouterInputs<AppRouter>['llm']['stream'];
/** The answer to a call that waits: an approval, or what a tool of the client gives. */
export type ToolAnswer = inferRouterInputs<AppRouter>['llm']['resolve']['results'][number];
export type ConfigSummary = inferRouterOutputs<AppRouter>['llm']['configs'][number];

/** A config name with the variables that its prompt needs: the literal types of `llm.config.ts`. */
export type Choice = StreamInput extends infer Input
  ? Input extends StreamInput
    ? Pick<Input, 'config' | Extract<keyof Input, 'variables'>>
    : never
  : never;
