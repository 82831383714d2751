/**
 * The doors that are plain HTTP as an OpenAPI 3.1 document: REST, and that of the AI SDK. Its schemas are those that the service checks requests by, its refusals those of the table
 * of errors. rest.ts and the door in ../ui/ serve the routes; test/openapi.test.ts fails where the two differ. https://spec.openapis.org/oas/v3.1.1.html
 */
import { z } from 'zod';
import { errorTable, refusalsOf, type Operation } from '../../errors.ts';
import {
  cancelOutcomes,
  configSummarySchema,
  errorDataSchema,
  generationSummarySchema,
  llmEventSchema,
  protocolVersion,
  type ErrorCode,
  type InputSchemas,
} from '../../protocol.ts';

type Json = Readonly<Record<string, unknown>>;

const refusalSchema = z
  .object({ error: errorDataSchema })
  .meta({ id: 'Refusal', description: 'Why nothing was done. What goes wrong later is an ErrorEvent of the stream.' });
const cancellationSchema = z.object({ outcome: z.enum(cancelOutcomes) }).meta({ id: 'Cancellation' });
const resolutionSchema = z
  .object({ resolved: z.int().describe('How many calls got their answers.') })
  .meta({ id: 'Resolution' });
const configListSchema = z.array(configSummarySchema).meta({ id: 'ConfigList' });
const generationListSchema = z.array(generationSummarySchema).meta({ id: 'GenerationList' });
const statusSchema = z.object({ status: z.string() }).meta({ id: 'Status' });

/** OpenAPI 3.1 has no words for the events of a stream, so an extension (`x-event-data`) refers to the schema of their `data`. */
const eventStream: Json = {
  type: 'string',
  contentMediaType: 'text/event-stream',
  description:
    'Server-sent events: `id` is the event id, to be handed back as Last-Event-ID; `event` is the type of the event; ' +
    '`data` is an LlmEvent as JSON. The last one is `done`, `cancelled` or `error`.',
  examples: [
    'id: 0b8f6d0e-5f0a-4c39-9f4b-6d3f6b1d2c11:1\nevent: text\ndata: {"type":"text","index":0,"text":"Hello"}\n\n',
  ],
  'x-event-data': { $ref: '#/components/schemas/LlmEvent' },
};

/** The same for the chunks of the AI SDK. */
const uiMessageStream: Json = {
  type: 'string',
  contentMediaType: 'text/event-stream',
  description: 'The UI message stream of the AI SDK, version 1. Its last line of data is `[DONE]`.',
  examples: ['data: {"type":"text-delta","id":"0","delta":"Hello"}\n\n'],
};

/**
 * @param schemas The schemas of the inputs, with the limits of this service.
 * @param uiChatRequest That of the body of the AI SDK's door.
 */
export function createOpenApiDocument(schemas: InputSchemas, uiChatRequest: z.ZodType): Json {
  const { config, lastEventId: cursor } = schemas.stream.shape;
  const generationId = withoutRefs(schemas.generationId);
  const thread = withoutRefs(schemas.thread);
  const { limit } = schemas.generations.unwrap().unwrap().shape;
  const idempotencyKey = header(
    'Idempotency-Key',
    generationId,
    'The generationId. A request that is sent again under the same id is not run again.',
  );
  const lastEventId = header(
    'Last-Event-ID',
    withoutRefs(cursor.unwrap().unwrap()),
    'The id of the last event that the client has seen; the events after it follow.',
  );
  const lastEventIdInUrl = query(
    'lastEventId',
    withoutRefs(cursor.unwrap().unwrap()),
    'The same, for clients that can’t set headers. Last-Event-ID outranks it.',
  );
  const chatParameters = [
    pathParameter('config', withoutRefs(config), 'The name of a config.'),
    pathParameter('chatId', thread, 'The id of the chat.'),
  ];
  const events = (what: string): Json => ({
    200: response(what, 'EventStream', 'text/event-stream'),
    204: { description: 'No event follows the one of Last-Event-ID.' },
  });
  return {
    openapi: '3.1.1',
    info: {
      title: 'llm-service',
      version: String(protocolVersion),
      description: 'Streams the answers of language models. PROTOCOL.md says what each event means and how to resume.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    // Relative to this document, so that it is right behind a proxy that strips a prefix from the path.
    servers: [{ url: '.', description: 'Where this document was found.' }],
    // A service without keys needs no credentials; one with keys needs a bearer token.
    security: [{}, { key: [] }],
    paths: {
      '/api/llm/process_stream/{config}': {
        post: {
          operationId: 'processStream',
          summary: 'Starts a generation, or attaches to the one of that Idempotency-Key, and streams its events.',
          parameters: [
            pathParameter('config', withoutRefs(config), 'The name of a config.'),
            idempotencyKey,
            lastEventId,
            lastEventIdInUrl,
          ],
          requestBody: { required: true, content: content('ProcessStreamRequest') },
          responses: {
            ...events('The events of the generation.'),
            ...refusals('stream'),
          },
        },
      },
      '/api/llm/generations/{id}/events': {
        get: {
          operationId: 'followGeneration',
          summary: 'Streams the events of a generation that runs or is kept.',
          parameters: [pathParameter('id', generationId, 'The generationId.'), lastEventId, lastEventIdInUrl],
          responses: {
            ...events('The events from the first on, or from after Last-Event-ID.'),
            ...refusals('follow'),
          },
        },
      },
      '/api/llm/events': {
        get: {
          operationId: 'followThread',
          summary: 'Streams the events of the newest generation of a thread that runs or is kept.',
          parameters: [
            { ...query('thread', thread, 'The label of the generations.'), required: true },
            lastEventId,
            lastEventIdInUrl,
          ],
          responses: {
            ...events('The events from the first on; with Last-Event-ID, those after it of its generation.'),
            ...refusals('follow'),
          },
        },
      },
      '/api/llm/generations': {
        get: {
          operationId: 'listGenerations',
          summary: 'Lists the caller’s generations that run or are kept, newest first.',
          parameters: [
            query('thread', thread, 'Lists those of this label only.'),
            query('limit', withoutRefs(limit.unwrap()), 'How many at most; 100 unless given.'),
            query('before', generationId, 'Lists those only that were started before this one.'),
          ],
          responses: {
            200: response('The generations, without their texts.', 'GenerationList'),
            ...refusals('list'),
          },
        },
      },
      '/api/llm/generations/{id}': {
        delete: {
          operationId: 'cancelGeneration',
          summary: 'Ends a generation; answers once its terminal event is out and the model call is closed.',
          parameters: [pathParameter('id', generationId, 'The generationId.')],
          responses: {
            200: response('What became of it.', 'Cancellation'),
            ...refusals('cancel'),
          },
        },
      },
      '/api/llm/generations/{id}/results': {
        post: {
          operationId: 'resolveCalls',
          summary: 'Answers calls of tools that wait for the client: all of them, or none.',
          parameters: [pathParameter('id', generationId, 'The generationId.')],
          requestBody: { required: true, content: content('ResolveRequest') },
          responses: {
            200: response('The calls have their answers.', 'Resolution'),
            ...refusals('resolve'),
          },
        },
      },
      '/api/llm/ui/{config}': {
        post: {
          operationId: 'chat',
          summary: 'Answers a chat of the AI SDK, or goes on with the answer whose calls it answers.',
          parameters: [pathParameter('config', withoutRefs(config), 'The name of a config.')],
          requestBody: { required: true, content: content('UIChatRequest') },
          responses: { 200: uiStream('The answer.'), ...refusals('stream') },
        },
      },
      '/api/llm/ui/{config}/{chatId}/stream': {
        get: {
          operationId: 'resumeChat',
          summary: 'Streams the newest answer of a chat from its beginning, while it runs.',
          parameters: chatParameters,
          responses: {
            200: uiStream('The answer.'),
            204: { description: 'None runs.' },
            ...refusals('follow'),
          },
        },
      },
      '/api/llm/ui/{config}/{chatId}/stop': {
        post: {
          operationId: 'stopChat',
          summary: 'Stops the newest answer of a chat.',
          parameters: chatParameters,
          responses: { 200: response('What became of it.', 'Cancellation'), ...refusals('cancel') },
        },
      },
      '/api/llm/configs': {
        get: {
          operationId: 'listConfigs',
          summary: 'Lists the configs.',
          responses: {
            200: response('What may be known of each config.', 'ConfigList'),
            ...refusals('list configs'),
          },
        },
      },
      '/healthz': {
        get: {
          operationId: 'isAlive',
          summary: 'Answers while the process lives.',
          security: [],
          responses: { 200: response('Alive.', 'Status') },
        },
      },
      '/readyz': {
        get: {
          operationId: 'isReady',
          summary: 'Says whether new generations are taken.',
          security: [],
          responses: { 200: response('They are.', 'Status'), 503: response('They are not.', 'Status') },
        },
      },
    },
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
      schemas: { ...components(schemas, uiChatRequest), EventStream: eventStream, UIMessageStream: uiMessageStream },
    },
  };
}

function components(schemas: InputSchemas, uiChatRequest: z.ZodType): Json {
  const roots = [
    uiChatRequest,
    schemas.restBody,
    schemas.restResults,
    llmEventSchema,
    configListSchema,
    generationListSchema,
    cancellationSchema,
    resolutionSchema,
    refusalSchema,
    statusSchema,
  ] as const;
  const definitions = Object.assign({}, ...roots.map((root) => jsonSchema(root).$defs)) as Json;
  const text = JSON.stringify(definitions).replaceAll('"#/$defs/', '"#/components/schemas/');
  return JSON.parse(text) as Json;
}

function withoutRefs(schema: z.ZodType): Json {
  const { $schema: _$schema, ...shape } = jsonSchema(schema);
  return shape;
}

function jsonSchema(schema: z.ZodType) {
  return z.toJSONSchema(schema, {
    // The form of inputs allows unknown fields, which readers of events must allow.
    io: 'input',
    override: ({ jsonSchema: made }) => {
      // zod writes these two bounds for every integer of JavaScript. They would only be noise.
      if (made.minimum === Number.MIN_SAFE_INTEGER) delete made.minimum;
      if (made.maximum === Number.MAX_SAFE_INTEGER) delete made.maximum;
      if (made.format !== undefined) delete made.pattern;
    },
  });
}

/** A response for each HTTP status that an operation can be refused with. */
function refusals(operation: Operation): Json {
  const codes = refusalsOf(operation);
  const statuses = new Set(codes.map((code) => errorTable[code].status));
  return Object.fromEntries(
    [...statuses].map((status) => [status, refusal(codes.filter((code) => errorTable[code].status === status))]),
  );
}

function refusal(codes: readonly ErrorCode[]): Json {
  const headers = { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } };
  const meanings = codes.map((code) => `\`${code}\`: ${errorTable[code].meaning}.`);
  const described = response(meanings.join(' '), 'Refusal');
  return codes.some((code) => errorTable[code].retryable) ? { ...described, headers } : described;
}

function response(description: string, component: string, mediaType?: string): Json {
  return { description, content: content(component, mediaType) };
}

function uiStream(description: string): Json {
  return response(description, 'UIMessageStream', 'text/event-stream');
}

function content(component: string, mediaType = 'application/json'): Json {
  return { [mediaType]: { schema: { $ref: `#/components/schemas/${component}` } } };
}

function pathParameter(name: string, schema: Json, description: string): Json {
  return { name, in: 'path', required: true, description, schema };
}

function query(name: string, schema: Json, description: string): Json {
  return { name, in: 'query', description, schema };
}

function header(name: string, schema: Json, description: string): Json {
  return { name, in: 'header', description, schema };
}
