/**
 * The door for clients of AG-UI: one address for each config, at which a run is started, resumed and joined. Its events are those of
 * `src/adapters/ag-ui`. HttpAgent reads them; TanStack's `fetchServerSentEvents` reads them and resumes by itself.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { generationIdOf, isUuid } from '../../adapters/ag-ui/run-id.ts';
import { mayUse, type Caller } from '../../caller.ts';
import type { Generations } from '../../generations/generations.ts';
import type { FollowRequest } from '../../protocol.ts';
import { generationNotFound } from '../../stream-log/stream-log.ts';
import { sendEvents, type EventDialect } from '../event-response.ts';
import { heartbeat, type HttpDoorOptions } from '../http-door.ts';
import { plainBody } from '../http-refusals.ts';
import { emptyBody } from '../json-body.ts';
import { parseInput } from '../parse-input.ts';
import { lastEventIdOf } from '../sse-cursor.ts';
import { parseCursor, type Cursor } from './cursor.ts';
import { AgUiFrames } from './frames.ts';
import { parseRunInput, requestOf } from './run-input.ts';

const door = 'ag-ui';
/** Of the caller's newest generations, among which a run is looked for whose client knows the thread no more. */
const searchedMax = 100;

interface Query {
  readonly threadId?: unknown;
  readonly runId?: unknown;
}

/** Adds the routes under `/api/llm/ag-ui`. The scope must be the door's own. */
export function registerAgUi(scope: FastifyInstance, options: HttpDoorOptions): void {
  const { generations, schemas, authenticate, sse, refusals, traces } = options;
  const entranceOf = (request: FastifyRequest) => ({ door, trace: traces.of(request) }) as const;
  scope.setErrorHandler(refusals.handler({ door: () => door, body: plainBody }));

  scope.post<{ Params: { config: string } }>('/api/llm/ag-ui/:config', async (request, reply) => {
    const caller = authenticate(request);
    if (request.body === undefined) throw emptyBody();
    const input = parseRunInput(request.body);
    const { config } = request.params;
    const generationId = await generationIdOf(input.threadId, input.runId);
    const cursor = cursorOf(request);
    const dialect = dialectFor(new AgUiFrames(input, cursor));
    // A client that has seen an event never starts a generation.
    if (cursor) {
      const asked = followed(generationId, cursor);
      return await sendEvents(reply, sse, dialect, (signal) =>
        generations.follow(caller, asked, signal, entranceOf(request)),
      );
    }
    const known = mayUse(caller, config) ? options.configs().get(config) : undefined;
    const asked = { ...requestOf(input, known, generationId, schemas), config };
    await sendEvents(reply, sse, dialect, (signal) => generations.stream(caller, asked, signal, entranceOf(request)));
  });

  scope.get<{ Querystring: Query }>('/api/llm/ag-ui/:config', async (request, reply) => {
    const caller = authenticate(request);
    const { threadId, runId } = request.query;
    if (runId === undefined) {
      const thread = parseInput(schemas.thread, threadId, 'threadId');
      return { messages: [], activeRun: await activeRun(generations, caller, thread) };
    }
    const run = await findRun(generations, caller, parseInput(schemas.thread, runId, 'runId'));
    const cursor = cursorOf(request);
    const dialect = dialectFor(new AgUiFrames(run, cursor));
    const asked = followed(run.generationId, cursor);
    return await sendEvents(reply, sse, dialect, (signal) =>
      generations.follow(caller, asked, signal, entranceOf(request)),
    );
  });
}

function dialectFor(frames: AgUiFrames): EventDialect {
  return {
    framesOf: (batch) => frames.framesOf(batch),
    heartbeat,
    // A client would take a stream that ends properly for a whole answer.
    cutIfUnfinished: true,
  };
}

/** @throws LlmError `invalid_input` */
function cursorOf({ raw }: FastifyRequest): Cursor | undefined {
  const lastEventId = lastEventIdOf(raw);
  return lastEventId === undefined ? undefined : parseCursor(lastEventId);
}

function followed(generationId: string, cursor: Cursor | undefined): FollowRequest {
  return cursor === undefined || cursor.id === '' ? { generationId } : { generationId, lastEventId: cursor.id };
}

/** The run of a thread that goes on. */
async function activeRun(
  generations: Generations,
  caller: Caller,
  thread: string,
): Promise<{ readonly runId: string } | null> {
  const [newest] = await generations.list(caller, { thread, limit: 1 });
  return newest?.state === 'running' ? { runId: newest.generationId } : null;
}

interface FoundRun {
  readonly generationId: string;
  readonly threadId: string | undefined;
  readonly runId: string;
}

/**
 * A run by its id alone. An id that is no UUID names a generation only together with its thread, so the caller's newest generations are
 * searched for the one that the id names in its own thread.
 *
 * @throws LlmError `generation_not_found`
 */
async function findRun(generations: Generations, caller: Caller, runId: string): Promise<FoundRun> {
  for (const { generationId, thread } of await generations.list(caller, { limit: searchedMax })) {
    if (thread === undefined && !isUuid(runId)) continue;
    if ((await generationIdOf(thread ?? '', runId)) === generationId) return { generationId, threadId: thread, runId };
  }
  if (!isUuid(runId)) throw generationNotFound();
  return { generationId: runId.toLowerCase(), threadId: undefined, runId };
}
