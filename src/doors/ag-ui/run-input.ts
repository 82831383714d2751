/**
 * The body of a run, as AG-UI's clients send it, and what of it a request becomes. Fields that this service has no use for (`state`,
 * the rest of `forwardedProps`) are ignored, as AG-UI means them for whoever knows them.
 */
import { z } from 'zod';
import { readConversation } from '../../adapters/ag-ui/messages.ts';
import type { Config } from '../../configs/configs.ts';
import { LlmError } from '../../errors.ts';
import type { InputIssue, InputSchemas, StreamRequest } from '../../protocol.ts';
import { parseInput } from '../parse-input.ts';

const callSchema = z.object({ id: z.string(), function: z.object({ name: z.string(), arguments: z.string() }) });
const sourceSchema = z.object({ type: z.enum(['data', 'url']), value: z.string(), mimeType: z.string().optional() });
const partSchema = z.object({
  type: z.string(),
  text: z.string().optional(),
  source: sourceSchema.optional(),
  mimeType: z.string().optional(),
  data: z.string().optional(),
  url: z.string().optional(),
});
const messageSchema = z.object({
  id: z.string().optional(),
  role: z.string(),
  // An activity's content is an object, which no model reads.
  content: z.union([z.string(), z.array(partSchema), z.record(z.string(), z.unknown())]).nullish(),
  toolCalls: z
    .array(callSchema)
    .nullish()
    .transform((calls) => calls ?? undefined),
  toolCallId: z.string().optional(),
  error: z.string().optional(),
  encryptedValue: z.string().optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
});

/** Characters of a run's id. Those of a thread's are bounded by the schema of `thread`. */
const runIdCharsMax = 200;

const runInputSchema = z.object({
  threadId: z.string(),
  runId: z.string().min(1).max(runIdCharsMax),
  messages: z.array(messageSchema),
  tools: z.array(z.object({ name: z.string() })).nullish(),
  context: z.array(z.object({ description: z.string(), value: z.string() })).nullish(),
  forwardedProps: z.object({ variables: z.unknown().optional() }).nullish().catch(undefined),
  resume: z.array(z.unknown()).nullish(),
});
/** The body of a run, with the fields that are read. */
export type RunInput = z.infer<typeof runInputSchema>;

/** @throws LlmError `invalid_input` */
export function parseRunInput(body: unknown): RunInput {
  return parseInput(runInputSchema, body);
}

/**
 * The request that a run is. Its variables stand in `forwardedProps.variables`.
 *
 * @param config Undefined where there is none of the name that was asked for: whoever starts the generation refuses it.
 * @throws LlmError `invalid_input` also for tools that the config doesn't have: if they were ignored, it would look as if the model
 *   wouldn't call them.
 */
export function requestOf(
  input: RunInput,
  config: Config | undefined,
  generationId: string,
  schemas: InputSchemas,
): Omit<StreamRequest, 'config'> {
  const { messages, issues } = readConversation(input.messages, input.context ?? []);
  const found = [...issues, ...(config ? unknownTools(input, config) : []), ...interrupts(input)];
  if (found.length > 0) throw LlmError.invalidInput(found);
  const { variables } = input.forwardedProps ?? {};
  return parseInput(schemas.restBody, { messages, variables, generationId, thread: input.threadId });
}

function unknownTools({ tools }: RunInput, config: Config): InputIssue[] {
  const known = config.tools?.clientTools ?? [];
  return (tools ?? []).flatMap(({ name }, at) => {
    if (known.includes(name)) return [];
    const those = known.join(', ') || 'none';
    const message = `the config "${config.name}" has no tool "${name.slice(0, 100)}" for clients; known are: ${those}`;
    return [{ path: `tools[${at}].name`, message }];
  });
}

function interrupts({ resume }: RunInput): InputIssue[] {
  const message = 'no run of this service is interrupted: calls that wait are answered by llm.resolve, or by messages';
  return resume && resume.length > 0 ? [{ path: 'resume', message }] : [];
}
