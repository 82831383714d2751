/** The package's face: what a config file and an embedding app import. */
export type { Caller } from './caller.ts';
export { createLlmRouter, type LlmRouterOptions } from './embed.ts';
export type { EndedGeneration, OnGenerationEnd } from './generation-end.ts';
export { ConfigError, defineConfigs, type Configs } from './configs.ts';
export { LlmError } from './errors.ts';
export type { LlmEvent, Message, TerminalEvent, Usage } from './protocol.ts';
export { llmErrorFormatter, type AuthRequest, type LlmRouter, type StreamInput } from './router.ts';
export { startService, type Service, type ServiceOptions } from './service.ts';
export { readSettings, type Settings } from './settings.ts';
