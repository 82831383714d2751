/**
 * The tools of one config: what upstream reads of them, what clients get of their calls, and how input and result are judged.
 * Executes nothing. Objects of classes, so that whoever freezes a config leaves schemas and functions as they are.
 */
import { z } from 'zod';
import type { ToolCallEvent, ToolSide } from '../protocol.ts';
import { closed, durationMs, filledText } from '../settings/rules.ts';
import { dataSchemaOf, SchemaError, type DataSchema, type SchemaUse } from './schemas.ts';
import { toolIn, type ToolContext } from './tool.ts';
import { nameOfTyped } from './typed-tools.ts';

/** A call of a tool, as the model has written it. */
export interface ToolUse {
  /** Counted through the generation. */
  readonly index: number;
  /** Upstream's id of the call. */
  readonly id: string;
  /** The name by which upstream knows the tool. */
  readonly name: string;
  /** Text where the model wrote no valid JSON. */
  readonly input: unknown;
}

/** Whether a call waits for an approval. A function decides it for each call. */
export type Approval = boolean | ((input: unknown, context: ToolContext) => boolean | Promise<boolean>);

/** A tool that the service or the client answers. */
export class ConfigTool {
  /** As the config has it. */
  readonly name: string;
  readonly by: ToolSide;
  /** Undefined for a tool that upstream defines by its type: then every input and every output fits. */
  readonly input: DataSchema | undefined;
  readonly output: DataSchema | undefined;
  readonly hidden: boolean;
  readonly streamInput: boolean;
  readonly timeoutMs: number;
  readonly approval: Approval;
  readonly execute: ((input: unknown, context: ToolContext) => unknown) | undefined;

  constructor(name: string, by: ToolSide, written: Partial<WrittenTool<DataSchema>> = {}) {
    this.name = name;
    this.by = by;
    this.input = written.input;
    this.output = written.output;
    this.hidden = written.hidden ?? false;
    this.streamInput = written.stream_input ?? false;
    this.timeoutMs = written.timeout_ms ?? timeoutMsDefault;
    this.approval = written.approval ?? false;
    this.execute = written.execute;
  }

  /** Whether a call of it waits, or may wait, for a client. Its `tool_call` is made once its input has been judged. */
  get waits(): boolean {
    return this.by === 'client' || this.approval !== false;
  }
}

/** How long a tool may run that doesn't say it. */
const timeoutMsDefault = 60_000;

/** A tool as it is written, with schemas of this form. */
interface WrittenTool<Schema> {
  readonly description: string;
  readonly input?: Schema | undefined;
  readonly output?: Schema | undefined;
  readonly strict?: boolean | undefined;
  readonly stream_input?: boolean | undefined;
  readonly hidden?: boolean | undefined;
  readonly defer_loading?: boolean | undefined;
  readonly input_examples?: readonly unknown[] | undefined;
  readonly timeout_ms?: number | undefined;
  readonly approval?: Approval | undefined;
  readonly execute?: ((input: unknown, context: ToolContext) => unknown) | undefined;
}

export class ToolSet {
  /** As upstream takes them. */
  readonly body: readonly object[];
  /** By the names that upstream has for them. */
  readonly #tools: ReadonlyMap<string, ConfigTool>;
  readonly #options: unknown;

  /** @param options What of them a config's hash shall cover beside `body`. */
  constructor(body: readonly object[], tools: ReadonlyMap<string, ConfigTool>, options: unknown) {
    this.body = body;
    this.#tools = tools;
    this.#options = options;
  }

  /** Undefined for a name that the model has made up. */
  get(name: string): ConfigTool | undefined {
    return this.#tools.get(name);
  }

  /** The names of the tools that clients answer. */
  get clientTools(): string[] {
    return [...this.#tools.values()].filter(({ by }) => by === 'client').map(({ name }) => name);
  }

  /** Whether clients receive no event of the tool. */
  hides(name: string): boolean {
    return this.#tools.get(name)?.hidden ?? false;
  }

  /** Whether clients receive the input of its calls while the model writes it. */
  streamsInput(name: string): boolean {
    const tool = this.#tools.get(name);
    return tool !== undefined && tool.streamInput && !tool.hidden;
  }

  /** The name that clients know a tool by. */
  shownName(name: string): string {
    return this.#tools.get(name)?.name ?? name;
  }

  /** The event of a call; undefined where clients get none, and where it waits for them, so that it must be judged first. */
  eventOf({ index, id, name, input }: ToolUse): ToolCallEvent | undefined {
    const tool = this.#tools.get(name);
    if (tool && (tool.hidden || tool.waits)) return undefined;
    return { type: 'tool_call', index, id, name: this.shownName(name), input, by: 'service' };
  }

  /** Stands for the tools in a config's hash, which can't see functions. */
  toJSON(): unknown {
    return { body: this.body, options: this.#options };
  }
}

// ---------------------------------------------------------------------------------------------------------- judging

const truth = z.boolean({ error: 'true or false' }).optional();
const aFunction = (error: string) => z.custom((value) => typeof value === 'function', { error });

const common = {
  description: filledText('text that says what the tool does'),
  // An absent schema is judged as one: its problem says what was expected.
  input: z.unknown().optional(),
  strict: truth,
  stream_input: truth,
  hidden: truth,
  defer_loading: truth,
  input_examples: z.array(z.unknown(), { error: 'a list of inputs' }).optional(),
};
const serviceTool = closed({
  ...common,
  output: z.unknown().optional(),
  timeout_ms: durationMs().optional(),
  approval: z.union([z.boolean(), aFunction('a function')], { error: 'true, false or a function' }).optional(),
  execute: aFunction('a function'),
});
const clientTool = closed({ ...common, output: z.unknown().optional() });
const typedTool = z.looseObject({
  type: filledText('the type of a tool that upstream defines'),
  name: filledText('the name that upstream has for the tool').optional(),
});

const namePattern = /^[A-Za-z0-9_-]{1,128}$/;
const namesExpected = 'a name of 1 to 128 letters, digits, "_" and "-"';

type Issues = z.core.ParsePayload['issues'];

/** The tools of a config as they are written, as its `ToolSet`. */
export const toolsRule = z
  .record(z.string(), z.unknown(), { error: 'a map from name to tool' })
  .transform((written, context): ToolSet => {
    const body: object[] = [];
    const tools = new Map<string, ConfigTool>();
    const options: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(written)) {
      const judged = namePattern.test(name)
        ? judge(name, value)
        : { issues: [{ code: 'custom' as const, path: [name], message: namesExpected, input: name }] };
      if ('issues' in judged) context.issues.push(...(judged.issues as Issues));
      else {
        const { upstreamName } = judged;
        if (tools.has(upstreamName)) context.issues.push(twice(name, upstreamName));
        body.push(judged.body);
        tools.set(upstreamName, judged.tool);
        options[name] = judged.options;
      }
    }
    return new ToolSet(body, tools, options);
  });

interface Judged {
  readonly upstreamName: string;
  readonly body: object;
  readonly tool: ConfigTool;
  readonly options: unknown;
}

function judge(name: string, value: unknown): Judged | { readonly issues: readonly object[] } {
  const made = toolIn(value);
  const isTyped = !made && typeof value === 'object' && value !== null && 'type' in value;
  if (isTyped) return judgeTyped(name, value);
  const by = made?.by ?? 'client';
  const rule = (by === 'service' ? serviceTool : clientTool) as unknown as z.ZodType<WrittenTool<unknown>>;
  const parsed = rule.safeParse(made ? made.raw : value);
  if (!parsed.success) return { issues: below(name, parsed.error.issues) };
  const { input, output, execute, ...options } = parsed.data;
  const issues: object[] = [];
  const schema = (key: string, schemaAsWritten: unknown, use: SchemaUse) => {
    try {
      return dataSchemaOf(schemaAsWritten, use);
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      issues.push(...error.problems.map(({ path, message }) => whole([name, key, ...path], message)));
      return undefined;
    }
  };
  const inputSchema = schema('input', input, options.strict ? 'strict_tool' : 'tool');
  const outputSchema = by === 'client' || output !== undefined ? schema('output', output, 'result') : undefined;
  const tool = new ConfigTool(name, by, { ...options, input: inputSchema, output: outputSchema, execute });
  if (tool.hidden && tool.waits)
    issues.push(whole([name, 'hidden'], 'expected false, since a client must see a call that waits for it'));
  if (issues.length > 0) return { issues };
  const { description, strict, stream_input, defer_loading, input_examples, ...others } = options;
  const body = {
    name,
    description,
    input_schema: inputSchema!.json,
    ...(strict === undefined ? {} : { strict }),
    ...(stream_input === undefined ? {} : { eager_input_streaming: stream_input }),
    ...(defer_loading === undefined ? {} : { defer_loading }),
    ...(input_examples === undefined ? {} : { input_examples }),
  };
  const approval = typeof tool.approval === 'function' ? 'function' : tool.approval;
  return { upstreamName: name, body, tool, options: { ...others, by, approval, output: outputSchema } };
}

/** A tool that upstream defines. Those that upstream runs itself never call; the others the client answers. */
function judgeTyped(name: string, value: object): Judged | { readonly issues: readonly object[] } {
  const parsed = typedTool.safeParse(value);
  if (!parsed.success) return { issues: below(name, parsed.error.issues) };
  const { type, name: given, ...fields } = parsed.data;
  const upstreamName = given ?? nameOfTyped(type);
  const body = { type, ...(upstreamName === undefined ? {} : { name: upstreamName }), ...fields };
  return { upstreamName: upstreamName ?? name, body, tool: new ConfigTool(name, 'client'), options: null };
}

function below(name: string, issues: readonly z.core.$ZodIssue[]): object[] {
  return issues.map((issue) => ({ ...issue, path: [name, ...issue.path] }));
}

/** A problem that its message states as a whole: what was expected, and what was found. */
function whole(path: readonly PropertyKey[], message: string): object {
  return { code: 'custom', path, message, input: undefined, params: { whole: true } };
}

function twice(name: string, upstreamName: string): Issues[number] {
  const message = `expected one tool of each name, found a second ${JSON.stringify(upstreamName)}`;
  return whole([name], message) as Issues[number];
}
