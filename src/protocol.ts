/**
 * The wire: what clients send, what they receive, and the ids that join the two. PROTOCOL.md says the same in prose. Knows no
 * transport. Every other module may import this file; it and its folder import zod alone.
 */
export * from './protocol/error-data.ts';
export * from './protocol/events.ts';
export * from './protocol/inputs.ts';
export * from './protocol/outputs.ts';
export * from './protocol/tool-events.ts';
