/**
 * The door for clients of OpenAI's APIs: models, Responses, and Chat Completions, which has no words for resume and stop. A config's
 * name is the model.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { anthropicModel, anthropicModels } from '../../adapters/anthropic/model.ts';
import { apiErrorBody as anthropicErrorBody } from '../../adapters/anthropic/api-error.ts';
import { failureOf } from '../../adapters/failure.ts';
import { apiErrorBody } from '../../adapters/openai/api-error.ts';
import { ChatChunks, ChatCompletion } from '../../adapters/openai/chat-chunks.ts';
import { openAiModel, openAiModels } from '../../adapters/openai/model.ts';
import { mayUse } from '../../caller.ts';
import { LlmError } from '../../errors.ts';
import { quote } from '../../settings/problems.ts';
import {
  answerForeign,
  retryHeaders,
  retryStatus,
  sendCancelled,
  startForeign,
  streamForeign,
  type Encoder,
  type ForeignDoorOptions,
} from '../foreign-door.ts';
import { chatRequest } from './chat-request.ts';
import { registerResponses } from './responses.ts';

const door = 'openai';

/** Adds the routes. The scope must be this door's own. */
export function registerOpenAi(scope: FastifyInstance, options: ForeignDoorOptions): void {
  scope.setErrorHandler(
    options.refusals.handler({
      door: () => door,
      body: ({ data }, request) => (isOfAnthropic(request) ? anthropicErrorBody(data) : apiErrorBody(data)),
      status: retryStatus,
      headers: retryHeaders,
    }),
  );
  registerModels(scope, options);
  registerResponses(scope, options);
  registerChat(scope, options);
}

/** Clients of Anthropic's API list its models under the same path. */
function isOfAnthropic({ headers }: FastifyRequest): boolean {
  return headers['anthropic-version'] !== undefined;
}

/** The caller's configs as models. */
function registerModels(scope: FastifyInstance, { authenticate, configs }: ForeignDoorOptions): void {
  const modelsFor = (request: FastifyRequest) => {
    const caller = authenticate(request);
    return configs()
      .summaries()
      .filter(({ name }) => mayUse(caller, name));
  };
  scope.get('/v1/models', (request) => {
    const models = modelsFor(request);
    return isOfAnthropic(request) ? anthropicModels(models) : openAiModels(models);
  });
  scope.get<{ Params: { id: string } }>('/v1/models/:id', (request) => {
    const { id } = request.params;
    const model = modelsFor(request).find(({ name }) => name === id);
    if (!model) throw new LlmError('config_not_found', `Configuration not found: ${quote(id)}`);
    return isOfAnthropic(request) ? anthropicModel(model) : openAiModel(model);
  });
}

function registerChat(scope: FastifyInstance, options: ForeignDoorOptions): void {
  const { authenticate, schemas, configs } = options;
  scope.post('/v1/chat/completions', async (request, reply) => {
    const caller = authenticate(request);
    const asked = chatRequest(request.body, request.headers, caller, { schemas, configs: configs() });
    const view = startForeign(options, request, caller, asked, door);
    if (asked.stream) return streamForeign(reply, options, caller, chatFrames(asked.withUsage), view);
    const fold = new ChatCompletion();
    const ended = await answerForeign(reply, options, caller, fold, { view, named: asked.named });
    if (ended?.type === 'cancelled')
      return sendCancelled(reply, (terminal) => apiErrorBody(failureOf(terminal)), ended);
    return ended ? reply.send(fold.completion) : reply;
  });
}

function chatFrames(withUsage: boolean): Encoder {
  const chunks = new ChatChunks(withUsage);
  return {
    frames: (event) => {
      let frames = '';
      for (const chunk of chunks.push(event)) frames += `data: ${JSON.stringify(chunk)}\n\n`;
      return event.type === 'done' ? `${frames}data: [DONE]\n\n` : frames;
    },
    chars: 0,
  };
}
