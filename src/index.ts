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
  type PromptFileInput,
  type PromptInput,
  type VariablesOf,
} from './configs/configs.ts';
export { createLlmRouter, type LlmRouterOptions } from './embed.ts';
export { LlmError, type LlmErrorOptions } from './errors.ts';
export type { Fault } from './settings/faults.ts';
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
export type { AuthRequest, LlmContext } from './doors/trpc/context.ts';
export type { LlmRouter, StreamInput, StreamInputOf } from './doors/trpc/router.ts';
export { llmErrorFormatter } from './doors/trpc/wire-errors.ts';
export { startService, type Service, type ServiceOptions } from './service.ts';
export { readSettings, SettingsError, type LogLevel, type Settings } from './settings/settings.ts';
export type { LlmLogger } from './telemetry/log-lines.ts';
export { Telemetry, type TelemetryOptions } from './telemetry/telemetry.ts';
export type { RetryTiming } from './upstream/retry.ts';
