/** The package's face: what a config file and an embedding app import, and every type that those exports name. */
export type { ApiKey } from './access/api-keys.ts';
export type { Credentials } from './access/access.ts';
export type { Caller, CallerLimits } from './caller.ts';
export {
  clientTool,
  tool,
  ToolError,
  type AnyTool,
  type ClientToolDefinition,
  type Schema,
  type ServerTool,
  type ServiceToolDefinition,
  type Tool,
  type ToolContext,
  type ToolDefinition,
  type ToolsInput,
  type ToolTypes,
} from './tools/tool.ts';
export {
  ConfigError,
  defineConfigs,
  type ClientRunType,
  type ConfigInput,
  type ConfigKeys,
  type ConfigNames,
  type Configs,
  type Expected,
  type NoOtherKeys,
  type OtherNames,
  type OutputOf,
  type PromptFileInput,
  type PromptInput,
  type TakenBy,
  type ToolsByConfig,
  type ToolsOf,
  type TypesOfTool,
  type VariablesIn,
  type VariablesOf,
  type VariablesOfPrompt,
} from './configs/configs.ts';
export type { AuthRequest, LlmContext, RequestNote } from './doors/trpc/context.ts';
export type { LlmRouter, NoVariables, StreamInput, VariablesInput } from './doors/trpc/router.ts';
export type {
  AnswerPart,
  AnyAppRouter,
  ConfigsOf,
  EventsOf,
  InputFor,
  InputNaming,
  ObjectOf,
  StreamInputOf,
  ToolTypesOf,
} from './doors/trpc/router-answers.ts';
export type {
  AnswerOf,
  Answers,
  answers,
  AnyEvent,
  EventOf,
  ToolCallOf,
  ToolFailureOf,
  ToolOutputOf,
  ToolStartOf,
  ToolSuccessOf,
} from './doors/trpc/typed-events.ts';
export { createUIMessageHandler, type UIMessageHandler, type UIMessageHandlerOptions } from './doors/ui/handler.ts';
export { llmErrorFormatter, type LlmErrorShape, type LlmErrorShapeData } from './doors/trpc/wire-errors.ts';
export { createLlmRouter, type Authenticated, type LlmRouterOptions } from './embed.ts';
export { LlmError, type ErrorTraits, type LlmErrorOptions, type Operation, type TrpcCode } from './errors.ts';
export type { EndedGeneration, OnGenerationEnd } from './generations/generation-end.ts';
export type {
  Account,
  AnswerLimit,
  BlockEvent,
  CallAnswer,
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
  ObjectState,
  PageRequest,
  Resolution,
  ResolveRequest,
  Resumable,
  StartEvent,
  StepEvent,
  StreamRequest,
  TerminalEvent,
  TextEvent,
  ThinkingEvent,
  Timing,
  ToolCallError,
  ToolCallEvent,
  ToolErrorCode,
  ToolFailureEvent,
  ToolInputEvent,
  ToolResultEvent,
  ToolSide,
  ToolStartEvent,
  ToolSuccessEvent,
  Usage,
} from './protocol.ts';
export { startService, type Service, type ServiceOptions } from './service.ts';
export type { Limits } from './settings/limits.ts';
export { ProblemsError, type Problem } from './settings/problems.ts';
export type { LogLevel, ServiceVariables } from './settings/service-variables.ts';
export { readSettings, SettingsError, type Settings } from './settings/settings.ts';
export type { TraceVariables } from './settings/trace-variables.ts';
export type { UpstreamVariables } from './settings/upstream-variables.ts';
export type { Environment } from './settings/variable.ts';
export type { LlmLogger, LogDestination } from './telemetry/log-lines.ts';
export type { RefusalDoor } from './telemetry/refusal-lines.ts';
export type { TelemetryOptions } from './telemetry/telemetry.ts';
export type { RequestTrace } from './telemetry/traces.ts';
export type { ApiKeyHeader, Headers } from './upstream/address/headers.ts';
export type { Proxies } from './upstream/address/proxies.ts';
