/** What every door over plain HTTP is made with, and the sign of life that each of them sends. */
import type { FastifyRequest } from 'fastify';
import type { Caller } from '../caller.ts';
import type { ConfigSnapshot } from '../configs/configs.ts';
import type { Generations } from '../generations/generations.ts';
import type { InputSchemas } from '../protocol.ts';
import type { HttpRefusals } from './http-refusals.ts';
import type { HttpTraces } from './http-traces.ts';
import type { SseOptions } from './sse-response.ts';

export interface HttpDoorOptions {
  readonly generations: Generations;
  readonly configs: () => ConfigSnapshot;
  /** @throws LlmError `unauthorized` */
  readonly authenticate: (request: FastifyRequest) => Caller;
  readonly schemas: InputSchemas;
  readonly sse: SseOptions;
  readonly refusals: HttpRefusals;
  readonly traces: HttpTraces;
}

/**
 * A comment, which parsers of event streams skip. No blank line follows it: after an event with an id, some parsers (httpx-sse, the
 * Python SDKs of OpenAI and Anthropic) make an event without data out of every blank line.
 */
export const heartbeat = ':\n';
