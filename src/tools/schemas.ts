/**
 * Schemas of tools and of outputs: a Standard Schema such as zod's, or a JSON Schema as JSON and YAML files have it. Both become
 * the JSON Schema that upstream takes, and a function that judges a value. What upstream would refuse is found here, when the
 * configs are loaded. Knows neither configs nor requests.
 */
import { createRequire } from 'node:module';
import type * as Ajv from 'ajv/dist/2020.js';
import type { Ajv2020, ErrorObject } from 'ajv/dist/2020.js';
import type { FormatsPlugin } from 'ajv-formats';
import { boundedIssues, formatPath, type InputIssue } from '../protocol.ts';
import {
  closedSchema,
  partKey,
  type JsonSchema,
  type SchemaOrigin,
  type SchemaProblem,
  unsayableParts,
} from './closed-schema.ts';

export type { JsonSchema, SchemaProblem } from './closed-schema.ts';

/**
 * What a schema is for: the input of a tool; that of one whose input upstream guarantees; the output of a config; or the result
 * of a tool, which upstream never gets the schema of.
 */
export type SchemaUse = 'tool' | 'strict_tool' | 'output' | 'result';

/** What became of a value: the parsed value, or what is wrong with it. */
export type Judged =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly issues: readonly InputIssue[] };

/** A schema that can't be used. Each problem has its place within the schema. */
export class SchemaError extends Error {
  override readonly name = 'SchemaError';
  /** At least one. */
  readonly problems: readonly SchemaProblem[];

  constructor(problems: readonly SchemaProblem[]) {
    super(problems.map(({ path, message }) => `${formatPath(path)}: ${message}`).join('; '));
    this.problems = problems;
  }
}

/** A schema that was found fit for its use. An object of a class, so that whoever freezes a config leaves it as it is. */
export class DataSchema {
  /** The JSON Schema for upstream. For a `result` whose library has none it is empty. */
  readonly json: JsonSchema;
  readonly #judge: (value: unknown) => Judged | Promise<Judged>;

  constructor(json: JsonSchema, judge: (value: unknown) => Judged | Promise<Judged>) {
    this.json = json;
    this.#judge = judge;
  }

  /** Judges a value. A value with many issues gets the first twenty of them. A schema that throws makes the value invalid. */
  async validate(value: unknown): Promise<Judged> {
    try {
      const judged = await this.#judge(value);
      return judged.ok ? judged : { ok: false, issues: boundedIssues(judged.issues) };
    } catch {
      // What a function of the schema throws may quote secrets of the service.
      return { ok: false, issues: [{ path: '', message: 'the schema failed while it judged this value' }] };
    }
  }

  /** Stands for the schema in a config's hash, which can't see functions. */
  toJSON(): JsonSchema {
    return this.json;
  }
}

/**
 * Makes a schema of what a config has.
 *
 * @throws SchemaError with everything for which upstream would refuse it.
 */
export function dataSchemaOf(written: unknown, use: SchemaUse): DataSchema {
  const standard = standardOf(written);
  return standard ? ofLibrary(standard, judgeOf(standard, written), use) : ofJson(written, use);
}

/** The JSON Schema for upstream, made of the schema as it was written. */
function forUpstream(json: JsonSchema, use: SchemaUse, origin: SchemaOrigin): JsonSchema {
  const { $schema: _$schema, ...schema } = json;
  if (use === 'result') return schema;
  const { json: sent, problems: found } =
    use === 'tool' ? { json: schema, problems: unsayableParts(schema) } : closedSchema(schema, origin);
  const problems = [...found];
  if (use !== 'output' && found.length === 0 && sent['type'] !== 'object') {
    problems.push({ path: [], message: 'expected a schema of an object, since upstream gives tools nothing else' });
  }
  if (problems.length > 0) throw new SchemaError(problems);
  return sent;
}

// -------------------------------------------------------------------------------------------------- Standard Schema

/** The parts of the interface that are read. See https://standardschema.dev. */
interface Standard {
  readonly vendor: string;
  readonly validate: (value: unknown) => StandardResult | Promise<StandardResult>;
  readonly jsonSchema?: Readonly<Record<'input' | 'output', (options: object) => JsonSchema>>;
}

interface StandardResult {
  readonly value?: unknown;
  readonly issues?: readonly StandardIssue[] | undefined;
}

interface StandardIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** A schema of ArkType's is a function. */
function standardOf(written: unknown): Standard | undefined {
  const holder = (typeof written === 'object' && written !== null) || typeof written === 'function' ? written : {};
  const standard = (holder as { readonly '~standard'?: Standard })['~standard'];
  return typeof standard?.validate === 'function' ? standard : undefined;
}

/** The asynchronous half of zod's schemas, of any version. */
interface ZodSchema {
  safeParseAsync(
    value: unknown,
  ): Promise<{ readonly data?: unknown; readonly error?: { readonly issues: readonly StandardIssue[] } }>;
}

/**
 * What judges a value. zod's `validate` tries a schema without waiting first, and again if something in it is asynchronous: that would
 * run twice, and a rejection of the first time, which nobody waits for, would end the process. So zod waits from the start here.
 */
function judgeOf(standard: Standard, written: unknown): Standard['validate'] {
  const zod = written as Partial<ZodSchema>;
  if (standard.vendor !== 'zod' || typeof zod.safeParseAsync !== 'function') return (value) => standard.validate(value);
  return async (value) => {
    const { data, error } = await zod.safeParseAsync!(value);
    return error ? { issues: error.issues } : { value: data };
  };
}

function ofLibrary(standard: Standard, judge: Standard['validate'], use: SchemaUse): DataSchema {
  return new DataSchema(forUpstream(jsonOfLibrary(standard, use), use, 'library'), async (value) => {
    const { issues, value: parsed } = await judge(value);
    return issues === undefined ? { ok: true, value: parsed } : { ok: false, issues: issues.map(issueOfLibrary) };
  });
}

function issueOfLibrary({ path = [], message }: StandardIssue): InputIssue {
  return { path: formatPath(path.map((part) => (typeof part === 'object' ? part.key : part))), message };
}

function jsonOfLibrary({ vendor, jsonSchema }: Standard, use: SchemaUse): JsonSchema {
  if (!jsonSchema) {
    if (use === 'result') return {};
    throw unfit(
      `expected a schema that has its JSON Schema (\`~standard.jsonSchema\`, as zod has from 4.2 on), found one of ${vendor} without`,
    );
  }
  const options = {
    target: 'draft-2020-12',
    ...(vendor === 'zod' ? { libraryOptions: zodOptions(use === 'output') } : {}),
  };
  try {
    // A client reads the JSON as the model wrote it, so an output that a transform makes would not be what the client gets.
    if (use === 'output' && vendor !== 'zod') jsonSchema.output(options);
    return jsonSchema.input(options);
  } catch (thrown) {
    if (use === 'result') return {};
    const words = thrown instanceof Error ? thrown.message : 'no reason given';
    throw unfit(`expected a schema that JSON Schema can say, found one of which ${vendor} says: ${words}`);
  }
}

function unfit(message: string): SchemaError {
  return new SchemaError([{ path: [], message }]);
}

interface ZodPart {
  readonly _zod: {
    readonly def: {
      readonly type: string;
      readonly in?: ZodPart;
      readonly out?: ZodPart;
      readonly transform?: unknown;
    };
  };
}

/** Has zod mark the parts that JSON Schema can't say, where it would otherwise throw an error that names no place. */
function zodOptions(transformsToo: boolean): object {
  return {
    unrepresentable: ({ zodSchema }: { readonly zodSchema: ZodPart }) => ({ [partKey]: zodSchema._zod.def.type }),
    override({ zodSchema, jsonSchema }: { readonly zodSchema: ZodPart; readonly jsonSchema: Record<string, unknown> }) {
      if (transformsToo && transforms(zodSchema)) jsonSchema[partKey] = 'transform';
    },
  };
}

/** Whether the part itself is a transform, a preprocessing or a codec. */
function transforms({ _zod: { def } }: ZodPart): boolean {
  const ends = [def.in, def.out].map((end) => end?._zod.def.type);
  return def.type === 'pipe' && (def.transform !== undefined || ends.includes('transform'));
}

// ------------------------------------------------------------------------------------------------------ JSON Schema

function ofJson(written: unknown, use: SchemaUse): DataSchema {
  if (typeof written !== 'object' || written === null || Array.isArray(written)) {
    throw unfit('expected a schema: of zod or another library with Standard Schema, or a JSON Schema as an object');
  }
  // Without `$schema`: the validator reads every schema as one of draft 2020-12, which takes those of draft 7 too.
  const { $schema: _$schema, ...schema } = written as JsonSchema;
  // One for all schemas, since it compiles JSON Schema's own schema.
  judge ??= newValidator();
  if (!judge.validateSchema(schema)) throw new SchemaError(metaProblems(judge.errors ?? []));
  const validate = compiled(schema);
  const json = forUpstream(schema, use, 'json');
  return new DataSchema(json, (value) =>
    validate(value) ? { ok: true, value } : { ok: false, issues: (validate.errors ?? []).map(issueOfAjv) },
  );
}

function compiled(schema: JsonSchema) {
  try {
    return newValidator({ meta: false, validateSchema: false }).compile(schema);
  } catch (thrown) {
    throw unfit(`expected a JSON Schema, found one that can't be used: ${(thrown as Error).message}`);
  }
}

/** The first error of each place: the others say the same once more, in the words of other branches. */
function metaProblems(errors: readonly ErrorObject[]): SchemaProblem[] {
  const byPlace = new Map(errors.toReversed().map((error) => [error.instancePath, error]));
  return [...byPlace.values()].toReversed().map(({ instancePath, message }) => ({
    path: pointerParts(instancePath),
    message: `expected JSON Schema: ${message}`,
  }));
}

function issueOfAjv({ instancePath, keyword, params, message = 'invalid' }: ErrorObject): InputIssue {
  const name: unknown = keyword === 'additionalProperties' ? params['additionalProperty'] : params['missingProperty'];
  const path = pointerParts(instancePath);
  return { path: formatPath(typeof name === 'string' ? [...path, name] : path), message };
}

/** `/tags/0` as `['tags', 0]`. */
function pointerParts(pointer: string): PropertyKey[] {
  const parts = pointer.split('/').slice(1);
  return parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part.replaceAll('~1', '/').replaceAll('~0', '~')));
}

let judge: Ajv2020 | undefined;

/**
 * Loads the validator where the first JSON Schema is read, since most services have none. A validator keeps every schema that it
 * has compiled, and so each schema has one of its own.
 */
function newValidator(options: Ajv.Options = {}): Ajv2020 {
  const require = createRequire(import.meta.url);
  const { Ajv2020: Validator } = require('ajv/dist/2020.js') as typeof Ajv;
  const { default: addFormats } = require('ajv-formats') as { readonly default: FormatsPlugin };
  const validator = new Validator({ allErrors: true, strict: false, logger: false, ...options });
  addFormats(validator);
  return validator;
}
