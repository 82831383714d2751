/** The package's face: what a config file and an embedding app import, and every type that those exports name. */
export type { ApiKey } from './access/api-keys.ts';
export type { Credentials } from './access/access.ts';
export type { Caller } from './caller.ts';
export {
  ConfigError,
  defineConfigs,
  type ConfigInput,
  type ConfigNames,
  type Configs,
  type Expected,
  type NoOtherKeys,
  type OtherNames,
  type PromptFileInput,
  type PromptInput,
  type VariablesIn,
  type VariablesOf,
  type VariablesOfPrompt,
} from './configs/configs.ts';
export type { AuthRequest, LlmContext, RequestNote } from './doors/trpc/context.ts';
export type { LlmRouter, NoVariables, StreamInput, StreamInputOf, VariablesInput } from './doors/trpc/router.ts';
export { llmErrorFormatter, type LlmErrorShape, type LlmErrorShapeData } from './doors/trpc/wire-errors.ts';
export { createLlmRouter, type Authenticated, type LlmRouterOptions } from './embed.ts';
export { LlmError, type ErrorTraits, type LlmErrorOptions, type Operation, type TrpcCode } from './errors.ts';
export type { EndedGeneration, OnGenerationEnd } from './generations/generation-end.ts';
export type {
  Account,
  BlockEvent,
  CancelledEvent,
  CancelOutcome,
  CancelReason,
  ConfigSummary,
  ContentBlock,
  DoneEvent,
  ErrorCode,
  ErrorData,
  ErrorEvent,
  FollowRequest,
  GenerationSnapshot,
  GenerationState,
  GenerationSummary,
  InputIssue,
  LlmEvent,
  Message,
  PageRequest,
  Resumable,
  StartEvent,
  StreamRequest,
  TerminalEvent,
  TextEvent,
  ThinkingEvent,
  Timing,
  Usage,
} from './protocol.ts';
export { startService, type Service, type ServiceOptions } from './service.ts';
export type { Limits } from './settings/limits.ts';
export { ProblemsError, type Problem } from './settings/problems.ts';
export type { LogLevel, ServiceVariables } from './settings/service-variables.ts';
export { readSettings, SettingsError, type Settings } from './settings/settings.ts';
export type { UpstreamVariables } from './settings/upstream-variables.ts';
export type { Environment } from './settings/variable.ts';
export type { LlmLogger, LogDestination } from './telemetry/log-lines.ts';
export type { RefusalDoor } from './telemetry/refusal-lines.ts';
export type { TelemetryOptions } from './telemetry/telemetry.ts';
export type { ApiKeyHeader, Headers } from './upstream/address/headers.ts';
export type { Proxies } from './upstream/address/proxies.ts';
