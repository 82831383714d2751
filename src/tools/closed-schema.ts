/**
 * The JSON Schema that upstream takes where it guarantees that what the model writes fits: every object closed, nothing
 * recursive, and only some of the keywords (https://platform.claude.com/docs/en/build-with-claude/structured-outputs). A bound
 * that upstream doesn't know, such as `minimum`, is added to the description, where the model reads it; the service judges by
 * it afterwards. Any other part that upstream doesn't know is a problem, since without it the schema would mean something else.
 */
import { suggestion } from '../settings/problems.ts';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** One thing for which a schema can't be used. */
export interface SchemaProblem {
  /** Where it is. In the schema of a library the names of properties; in a JSON Schema all keys on the way. */
  readonly path: readonly PropertyKey[];
  /** What was expected and what was found. */
  readonly message: string;
}

/** Who wrote a JSON Schema: a library such as zod, or the operator by hand. */
export type SchemaOrigin = 'library' | 'json';

/** The key by which a part is marked that JSON Schema can't say; its value is the library's word for the part. */
export const partKey = 'x-llm-service-part';

const formats: ReadonlySet<unknown> = new Set([
  'date-time',
  'time',
  'date',
  'duration',
  'email',
  'hostname',
  'uri',
  'ipv4',
  'ipv6',
  'uuid',
]);

/** Keywords that bound a value. They go into the description. */
const bounds = [
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'pattern',
  'minItems',
  'maxItems',
  'uniqueItems',
  'minProperties',
  'maxProperties',
  'format',
];

/** Keywords of a part that is one type. */
const structure = ['type', 'properties', 'required', 'additionalProperties', 'items', 'prefixItems', 'enum', 'const'];

/** Keywords of a part that is made of others. */
const combinations = ['$ref', 'allOf', 'anyOf', 'oneOf'];

/** Keywords that say nothing of what fits. The first three are sent. */
const remarks = [
  'title',
  'description',
  'default',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
  '$comment',
  '$schema',
  '$id',
  '$anchor',
  '$defs',
  'definitions',
  'contentEncoding',
  'contentMediaType',
  'contentSchema',
];

/** Keywords that say what upstream can't hold a model to. */
const beyond = [
  'not',
  'if',
  'then',
  'else',
  'contains',
  'minContains',
  'maxContains',
  'patternProperties',
  'dependentSchemas',
  'dependentRequired',
  'dependencies',
  'unevaluatedProperties',
  'unevaluatedItems',
  'additionalItems',
  '$dynamicRef',
  '$dynamicAnchor',
  '$recursiveRef',
  '$recursiveAnchor',
];

/** All keywords. `propertyNames` stands beside `additionalProperties`, which is judged. */
const known = [...bounds, ...structure, ...combinations, ...remarks, ...beyond, 'propertyNames'];

/** The schema for upstream, and what can't be said in it. */
export function closedSchema(
  schema: JsonSchema,
  origin: SchemaOrigin,
): { readonly json: JsonSchema; readonly problems: readonly SchemaProblem[] } {
  const closing = new Closing(schema, origin);
  return { json: closing.whole(), problems: closing.problems };
}

/** The marked parts in the schema of a library, where upstream takes everything else. */
export function unsayableParts(schema: unknown, path: readonly PropertyKey[] = [], isMap = false): SchemaProblem[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const part = (schema as JsonSchema)[partKey];
  if (typeof part === 'string') return [{ path, message: unsayable(part) }];
  return Object.entries(schema).flatMap(([key, child]) => {
    const isStep = isMap || ['items', 'prefixItems', 'additionalProperties'].includes(key);
    return unsayableParts(child, isStep ? [...path, key] : path, !isMap && key === 'properties');
  });
}

class Closing {
  readonly problems: SchemaProblem[] = [];
  readonly #root: JsonSchema;
  readonly #origin: SchemaOrigin;
  /** The definitions that are used, by their `$ref`. Those that are being made are undefined. */
  readonly #definitions = new Map<string, JsonSchema | undefined>([['#', undefined]]);

  constructor(root: JsonSchema, origin: SchemaOrigin) {
    this.#root = root;
    this.#origin = origin;
  }

  whole(): JsonSchema {
    const json = this.#node(this.#root, []);
    const used = (holder: string) =>
      [...this.#definitions].flatMap(([ref, schema]) =>
        schema && ref.startsWith(`#/${holder}/`) ? [[nameIn(ref), schema] as const] : [],
      );
    const definitions = ['$defs', 'definitions'].flatMap((holder) => {
      const entries = used(holder);
      return entries.length === 0 ? [] : [[holder, Object.fromEntries(entries)] as const];
    });
    return { ...json, ...Object.fromEntries(definitions) };
  }

  #problem(path: readonly PropertyKey[], message: string): JsonSchema {
    this.problems.push({ path, message });
    return {};
  }

  /** The way to a part. A library's user wrote no `properties` and no `anyOf`. */
  #at(path: readonly PropertyKey[], keyword: string, name?: PropertyKey): readonly PropertyKey[] {
    if (this.#origin === 'json') return name === undefined ? [...path, keyword] : [...path, keyword, name];
    if (keyword === 'items') return [...path, keyword];
    return keyword === 'properties' ? [...path, name!] : path;
  }

  #node(schema: unknown, path: readonly PropertyKey[]): JsonSchema {
    if (schema === true) return this.#anything(path);
    if (!isRecord(schema)) return this.#problem(path, 'expected a schema, found one that no value fits');
    const part = schema[partKey];
    if (typeof part === 'string') return this.#problem(path, unsayable(part));
    this.#findUnknown(schema, path);
    const described = this.#described(schema);
    const [combination, second] = combinations.filter((keyword) => schema[keyword] !== undefined);
    if (combination !== undefined) {
      const beside = second ?? structure.find((keyword) => keyword !== 'type' && schema[keyword] !== undefined);
      if (beside !== undefined) {
        return this.#problem(
          this.#at(path, beside),
          `expected no ${beside} beside ${combination}; write it in each part`,
        );
      }
      return this.#combined(combination, schema[combination], described, path);
    }
    const literal = this.#literal(schema, path);
    const types = typesOf(schema);
    if (types.length === 0) return literal ? { ...described, ...literal } : this.#anything(path);
    return {
      type: types.length === 1 ? types[0] : types,
      ...described,
      ...literal,
      ...(types.includes('object') ? this.#object(schema, path) : {}),
      ...(types.includes('array') ? this.#array(schema, path) : {}),
      ...(types.includes('string') && formats.has(schema['format']) ? { format: schema['format'] } : {}),
    };
  }

  #anything(path: readonly PropertyKey[]): JsonSchema {
    return this.#problem(
      path,
      'expected a type, found a part that takes any value (any, unknown), which upstream refuses',
    );
  }

  #findUnknown(schema: JsonSchema, path: readonly PropertyKey[]): void {
    for (const keyword of Object.keys(schema)) {
      const place = this.#at(path, keyword);
      if (beyond.includes(keyword)) this.#problem(place, `expected no ${keyword}, which upstream refuses in a schema`);
      // A library's user may add any key, such as those of zod's `meta`.
      else if (this.#origin === 'json' && !known.includes(keyword) && !keyword.startsWith('x-')) {
        this.#problem(place, `unknown keyword${suggestion(keyword, known)}`);
      }
    }
  }

  /** Title, default and description, with the bounds that upstream doesn't know. */
  #described(schema: JsonSchema): JsonSchema {
    const { title, default: byDefault, description } = schema;
    const unsaid = bounds.filter((name) => schema[name] !== undefined && !isSaid(name, schema));
    const sentence = `{${unsaid.map((name) => `${name}: ${JSON.stringify(schema[name])}`).join(', ')}}`;
    const words = [...(typeof description === 'string' ? [description] : []), ...(unsaid.length > 0 ? [sentence] : [])];
    return {
      ...(typeof title === 'string' ? { title } : {}),
      ...(words.length > 0 ? { description: words.join('\n\n') } : {}),
      ...(byDefault === undefined ? {} : { default: byDefault }),
    };
  }

  #literal(schema: JsonSchema, path: readonly PropertyKey[]): JsonSchema | undefined {
    const { enum: values, const: only } = schema;
    const all = Array.isArray(values) ? (values as unknown[]) : only === undefined ? undefined : [only];
    if (all?.some((value) => typeof value === 'object' && value !== null)) {
      const keyword = Array.isArray(values) ? 'enum' : 'const';
      this.#problem(this.#at(path, keyword), 'expected texts, numbers, true, false or null, found an object or a list');
    }
    if (all === undefined) return undefined;
    return Array.isArray(values) ? { enum: values } : { const: only };
  }

  #object(schema: JsonSchema, path: readonly PropertyKey[]): JsonSchema {
    const { properties = {}, required, additionalProperties: others } = schema;
    const place = this.#at(path, 'additionalProperties');
    const anyValue = others === true || (isRecord(others) && Object.keys(others).length === 0);
    if (anyValue && schema['propertyNames'] === undefined) {
      this.#problem(place, 'expected an object with these keys and no others, found one that takes any key (loose)');
    } else if (anyValue || isRecord(others)) {
      this.#problem(place, 'expected an object whose keys are known, found a map from any key (record)');
    }
    const members = Object.entries(properties as JsonSchema);
    for (const name of Array.isArray(required) ? (required as unknown[]) : []) {
      if (members.every(([key]) => key !== name)) {
        this.#problem(this.#at(path, 'required'), `expected names of properties, found ${JSON.stringify(name)}`);
      }
    }
    return {
      properties: Object.fromEntries(
        members.map(([key, each]) => [key, this.#node(each, this.#at(path, 'properties', key))]),
      ),
      ...(required === undefined ? {} : { required }),
      additionalProperties: false,
    };
  }

  #array(schema: JsonSchema, path: readonly PropertyKey[]): JsonSchema {
    const { items, prefixItems, minItems } = schema;
    if (prefixItems !== undefined || Array.isArray(items)) {
      const place = this.#at(path, prefixItems === undefined ? 'items' : 'prefixItems');
      return this.#problem(
        this.#origin === 'json' ? place : path,
        'expected a list whose items have one schema, found a tuple, which upstream refuses',
      );
    }
    const place = this.#at(path, 'items');
    return {
      items: items === undefined ? this.#anything(place) : this.#node(items, place),
      ...(minItems === 0 || minItems === 1 ? { minItems } : {}),
    };
  }

  #combined(keyword: string, value: unknown, described: JsonSchema, path: readonly PropertyKey[]): JsonSchema {
    if (keyword === '$ref') return this.#reference(value as string, path);
    const parts = value as readonly unknown[];
    if (keyword === 'allOf') {
      // Each part is closed by itself, and nothing fits two closed objects at once.
      if (parts.length === 1) return { ...this.#node(parts[0], this.#at(path, keyword, 0)), ...described };
      return this.#problem(this.#at(path, keyword), 'expected one schema, found several at once (allOf, intersection)');
    }
    return { ...described, anyOf: parts.map((each, index) => this.#node(each, this.#at(path, keyword, index))) };
  }

  #reference(ref: string, path: readonly PropertyKey[]): JsonSchema {
    const place = this.#at(path, '$ref');
    if (this.#definitions.has(ref)) {
      if (this.#definitions.get(ref)) return { $ref: ref };
      return this.#problem(place, 'expected a schema that ends, found one that contains itself (recursive)');
    }
    const [, holder, name, ...deeper] = ref.split('/');
    const definitions = ref.startsWith('#/') ? this.#root[holder!] : undefined;
    const isLocal = (holder === '$defs' || holder === 'definitions') && name !== undefined && deeper.length === 0;
    if (!isLocal || !isRecord(definitions) || !Object.hasOwn(definitions, nameIn(ref))) {
      return this.#problem(place, 'expected a $ref to one of this schema’s own $defs');
    }
    this.#definitions.set(ref, undefined);
    const at = this.#origin === 'json' ? [holder, nameIn(ref)] : path;
    this.#definitions.set(ref, this.#node(definitions[nameIn(ref)], at));
    return { $ref: ref };
  }
}

/** `#/$defs/a~1b` names `a/b`. */
function nameIn(ref: string): string {
  return decodeURIComponent(ref.split('/')[2]!).replaceAll('~1', '/').replaceAll('~0', '~');
}

function unsayable(part: string): string {
  return part === 'transform'
    ? 'expected a part that clients get as the model writes it, found a transform'
    : `expected a part that JSON can hold, found a ${part}`;
}

/** A type that isn't named follows from the keywords of one. */
function typesOf({ type, properties, items }: JsonSchema): readonly unknown[] {
  if (type !== undefined) return Array.isArray(type) ? type : [type];
  if (properties !== undefined) return ['object'];
  return items === undefined ? [] : ['array'];
}

/** Whether a bound is said by other means: by a format, by upstream's own keyword, or by the type. */
function isSaid(name: string, schema: JsonSchema): boolean {
  const value = schema[name];
  if (name === 'format') return formats.has(value);
  // zod writes the pattern of a format beside it.
  if (name === 'pattern') return formats.has(schema['format']);
  if (name === 'minItems') return value === 0 || value === 1;
  return Math.abs(value as number) === Number.MAX_SAFE_INTEGER;
}

function isRecord(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
