/**
 * What clients read from the type of a router: the inputs that its `llm.stream` takes, and for each config the events, the object
 * and the tools of its answers. Types alone.
 */
import type { AnyTRPCRouter, inferRouterInputs } from '@trpc/server';
import type { Expected } from '../../configs/configs.ts';
import type { Answers, answers } from './typed-events.ts';

/** The router of an app: `AppRouter`, or any other of tRPC's. */
export type AnyAppRouter = AnyTRPCRouter;

/** The input of a router's `llm.stream`: config names and variables are literal types. */
export type StreamInputOf<TRouter extends AnyTRPCRouter> =
  inferRouterInputs<TRouter> extends { llm: { stream: infer Input } }
    ? Input
    : Expected<'a router that has the procedures of createLlmRouter under llm'>;

/** The names of the configs that a router serves. */
export type ConfigsOf<TRouter extends AnyTRPCRouter> =
  StreamInputOf<TRouter> extends { readonly config: infer Name } ? Name : StreamInputOf<TRouter>;

/** The input of a router's `llm.stream` for one of its configs, or for some. */
export type InputFor<TRouter extends AnyTRPCRouter, Name> = InputNaming<StreamInputOf<TRouter>, Name>;

/** The members of a union of inputs that can name one of these configs. */
export type InputNaming<Input, Name> = Input extends { readonly config: infer Own }
  ? [Name & Own] extends [never]
    ? never
    : Input
  : Input;

/**
 * The events of a router's answers from one config: `EventsOf<AppRouter, 'weather'>`; without a name, from any. For code around a
 * stock client or React hooks, whose own types know only the events of all configs together.
 */
export type EventsOf<TRouter extends AnyTRPCRouter, Name extends ConfigsOf<TRouter> = ConfigsOf<TRouter>> = AnswerPart<
  InputFor<TRouter, Name>,
  'event'
>;

/** The object that a router's config answers with: undefined where it has no `output`. */
export type ObjectOf<TRouter extends AnyTRPCRouter, Name extends ConfigsOf<TRouter>> = AnswerPart<
  InputFor<TRouter, Name>,
  'object'
>;

/** The types of the tools of a router's config, by name. */
export type ToolTypesOf<TRouter extends AnyTRPCRouter, Name extends ConfigsOf<TRouter>> = AnswerPart<
  InputFor<TRouter, Name>,
  'tools'
>;

/** One part of the types of an answer, found by the input that asks for it. */
export type AnswerPart<Input, Part extends keyof Answers<unknown, unknown, unknown>> = Input extends {
  readonly [answers]?: infer Found;
}
  ? Part extends keyof NonNullable<Found>
    ? NonNullable<Found>[Part]
    : never
  : never;
