/** The package's face: what a config file and an embedding app import, and the types that those mention. */
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
export { createLlmRouter, type Authenticated, type LlmRouterOptions } from './embed.ts';
export type { ApiKeyHeader, Headers } from './upstream/address/headers.ts';
export type { Proxies } from './upstream/address/proxies.ts';
export { LlmError, type LlmErrorOptions } from './errors.ts';
export { ProblemsError, type Problem } from './settings/problems.ts';
export type { EndedGeneration, OnGenerationEnd } from './generations/generation-end.ts';
export type { Limits } from './settings/limits.ts';
export type {
  CancelOutcome,
  ConfigSummary,
  ContentBlock,
  ErrorCode,
  ErrorData,
  GenerationSnapshot,
  GenerationSummary,
  InputIssue,
  LlmEvent,
  Message,
  TerminalEvent,
  Usage,
} from './protocol.ts';
export {
  llmErrorFormatter,
  type AuthRequest,
  type LlmContext,
  type LlmRouter,
  type StreamInput,
  type StreamInputOf,
} from './doors/trpc/router.ts';
export { startService, type Service, type ServiceOptions } from './service.ts';
export type { LogLevel, ServiceVariables } from './settings/service-variables.ts';
export { readSettings, SettingsError, type Settings } from './settings/settings.ts';
export type { UpstreamVariables } from './settings/upstream-variables.ts';
export type { Environment } from './settings/variable.ts';
export type { LlmLogger, LogDestination } from './telemetry/log-lines.ts';
export type { TelemetryOptions } from './telemetry/telemetry.ts';
