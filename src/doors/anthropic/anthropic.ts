/** The door for clients of Anthropic's Messages API: `POST /v1/messages`. A config's name is the model. */
import type { FastifyInstance } from 'fastify';
import { apiErrorBody } from '../../adapters/anthropic/api-error.ts';
import { MessageEvents } from '../../adapters/anthropic/message-events.ts';
import { WholeMessage } from '../../adapters/anthropic/message.ts';
import { failureOf } from '../../adapters/failure.ts';
import type { LlmError } from '../../errors.ts';
import type { LlmEvent } from '../../protocol.ts';
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
import { invalidRequest, type RefusalStyle } from '../http-refusals.ts';
import { messageRequest } from './message-request.ts';

const door = 'anthropic';

const style: RefusalStyle = {
  door: () => door,
  body: ({ data }: LlmError, { id }) => ({ ...apiErrorBody(data), request_id: id }),
  status: retryStatus,
  headers: retryHeaders,
};

/** Adds the routes. The scope must be this door's own. */
export function registerAnthropic(scope: FastifyInstance, options: ForeignDoorOptions): void {
  const { authenticate, schemas, configs, refusals } = options;
  scope.setErrorHandler(refusals.handler(style));
  // Anthropic's clients read the id of a request from this header.
  scope.addHook('onRequest', async (request, reply) => void reply.raw.setHeader('request-id', request.id));

  scope.post('/v1/messages', async (request, reply) => {
    const caller = authenticate(request);
    const asked = messageRequest(request.body, request.headers, caller, { schemas, configs: configs() });
    const view = startForeign(options, request, caller, asked, door);
    if (asked.stream) return streamForeign(reply, options, caller, messageFrames(), view);
    const events = new MessageEvents();
    const whole = new WholeMessage();
    const fold = {
      push: (event: LlmEvent) => events.push(event).forEach((each) => whole.push(each)),
      get chars() {
        return whole.chars;
      },
    };
    const ended = await answerForeign(reply, options, caller, fold, { view, named: asked.named });
    if (ended?.type === 'cancelled')
      return sendCancelled(reply, (terminal) => apiErrorBody(failureOf(terminal)), ended);
    return ended ? reply.send(whole.message) : reply;
  });

  scope.post('/v1/messages/count_tokens', (request) => {
    authenticate(request);
    throw invalidRequest('The service counts no tokens: the config adds a prompt that clients do not see');
  });
}

/** Frames without a state beside the blocks that are open. */
function messageFrames(): Encoder {
  const events = new MessageEvents();
  return {
    frames: (event) => {
      let frames = '';
      for (const each of events.push(event)) frames += `event: ${each.type}\ndata: ${JSON.stringify(each)}\n\n`;
      return frames;
    },
    chars: 0,
  };
}
