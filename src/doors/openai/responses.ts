/**
 * OpenAI's Responses API: a response is started, followed from any place, read, and cancelled. Its id is the generation's. So this is
 * the one of the foreign APIs that keeps resume and stop.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Hold } from '../../access/held-bytes.ts';
import { ResponseEvents } from '../../adapters/openai/response-events.ts';
import type { Caller } from '../../caller.ts';
import { LlmError } from '../../errors.ts';
import { movedAway } from '../../generations/view.ts';
import { parseEventId } from '../../protocol.ts';
import {
  answerForeign,
  startForeign,
  streamForeign,
  type Encoder,
  type ForeignDoorOptions,
  type ViewUntil,
} from '../foreign-door.ts';
import { parseInput } from '../parse-input.ts';
import { heldUntilSent, holdFold } from '../whole-answer.ts';
import { responseRequest } from './response-request.ts';

const door = 'openai';
type WithId = { Params: { id: string } };

export function registerResponses(scope: FastifyInstance, options: ForeignDoorOptions): void {
  const { generations, authenticate, schemas, configs } = options;

  scope.post('/v1/responses', async (request, reply) => {
    const caller = authenticate(request);
    const asked = responseRequest(request.body, request.headers, caller, { schemas, configs: configs() });
    const view = startForeign(options, request, caller, asked, door);
    if (asked.stream) return streamForeign(reply, options, caller, responseFrames(), view);
    if (asked.background) return startOnly(view);
    const fold = new ResponseEvents();
    const ended = await answerForeign(reply, options, caller, fold, { view, named: asked.named });
    return ended ? reply.send(fold.response) : reply;
  });

  scope.get<WithId>('/v1/responses/:id', async (request, reply) => {
    const caller = authenticate(request);
    const generationId = generationIdOf(request, schemas);
    const after = cursorOf(request.query as Readonly<Record<string, unknown>>);
    if (after === undefined) return soFar(caller, generationId, reply);
    const view: ViewUntil = (signal) => generations.follow(caller, { generationId }, signal, { door });
    return streamForeign(reply, options, caller, responseFrames(after), view);
  });

  scope.post<WithId>('/v1/responses/:id/cancel', async (request, reply) => {
    const caller = authenticate(request);
    const generationId = generationIdOf(request, schemas);
    await generations.cancel(caller, generationId);
    return soFar(caller, generationId, reply);
  });

  /** Starts a generation that nobody watches, and returns its response, which has just begun. */
  async function startOnly(view: ViewUntil): Promise<object> {
    const left = new AbortController();
    const reader = view(left.signal);
    const events = new ResponseEvents();
    try {
      const first = await reader.next();
      if (first.done) throw movedAway();
      for (const { event } of first.value) events.push(event);
    } finally {
      await reader.return();
    }
    return events.response;
  }

  /** The response of a generation as it is now. */
  function soFar(caller: Caller, generationId: string, reply: FastifyReply): Promise<object> {
    return heldUntilSent(options.held, caller, reply, (hold) => readSoFar(caller, generationId, hold));
  }

  async function readSoFar(caller: Caller, generationId: string, hold: Hold): Promise<object> {
    const { lastEventId } = await generations.snapshot(caller, generationId, (bytes) => {
      hold.resize(bytes);
      return undefined;
    });
    const lastOffset = parseEventId(lastEventId)!.offset;
    const left = new AbortController();
    const reader = generations.follow(caller, { generationId }, left.signal, { door });
    const events = new ResponseEvents();
    try {
      for await (const batch of reader) {
        for (const { event } of batch) events.push(event);
        holdFold(hold, events);
        if (parseEventId(batch.at(-1)!.id)!.offset >= lastOffset) break;
      }
    } finally {
      await reader.return();
    }
    if (reader.moved) throw movedAway();
    return events.response;
  }
}

/** The last frames have the whole text four times: as a part, as its text, within its item, and in the response. */
const heldAtEnd = 4;

/** @param after The `sequence_number` of the last event that the client has seen. */
function responseFrames(after = -1): Encoder {
  const events = new ResponseEvents(after);
  return {
    frames: (event) => {
      let frames = '';
      for (const each of events.push(event)) frames += `event: ${each.type}\ndata: ${JSON.stringify(each)}\n\n`;
      return frames;
    },
    get chars() {
      return heldAtEnd * events.chars;
    },
  };
}

function generationIdOf({ params }: FastifyRequest<WithId>, schemas: ForeignDoorOptions['schemas']): string {
  const { id } = params;
  return parseInput(schemas.generationId, id.startsWith('resp_') ? id.slice('resp_'.length) : id, 'id');
}

/**
 * From where a client follows a response: `stream=true`, and `starting_after` for the number of the last event that it has seen.
 * Undefined where it asks for the response as it is.
 *
 * @throws LlmError `invalid_input`
 */
function cursorOf({ stream, starting_after: after }: Readonly<Record<string, unknown>>): number | undefined {
  const problem = (path: string, message: string) => LlmError.invalidInput([{ path, message }]);
  if (stream !== undefined && stream !== 'true' && stream !== 'false')
    throw problem('stream', 'expected true or false');
  if (after !== undefined && (stream !== 'true' || typeof after !== 'string' || !/^\d{1,15}$/.test(after))) {
    throw problem('starting_after', 'expected the sequence_number of an event, beside stream=true');
  }
  if (stream !== 'true') return undefined;
  return after === undefined ? -1 : Number(after);
}
