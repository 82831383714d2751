/** The package's face: what a config file and an embedding app import, and the types that those mention. */
export type { ApiKey } from './api-keys.ts';
export type { Credentials } from './access.ts';
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
} from './configs.ts';
export { createLlmRouter, type LlmRouterOptions } from './embed.ts';
export { LlmError, type LlmErrorOptions } from './errors.ts';
export type { Fault } from './faults.ts';
export type { EndedGeneration, OnGenerationEnd } from './generation-end.ts';
export type { Limits } from './limits.ts';
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
} from './router.ts';
export { startService, type Service, type ServiceOptions } from './service.ts';
export { readSettings, SettingsError, type LogLevel, type Settings } from './settings.ts';
export type { LlmLogger } from './log-lines.ts';
export { Telemetry, type TelemetryOptions } from './telemetry.ts';
export type { RetryTiming } from './upstream/retry.ts';
