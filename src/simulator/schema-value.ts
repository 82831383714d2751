/**
 * Makes a value that fits a JSON Schema, from the words of a question: the same words give the same value. It knows the
 * parts of JSON Schema that the API takes for tools and for structured output, and ignores all others.
 */
import { isObject, type Fields } from './fields.ts';
import { namesIn, numberIn } from './words.ts';

/** Where a value's words are found. */
export interface ValueSource {
  /** The question. */
  readonly question: string;
  /** What a text is, where the schema says nothing more about it. By default the first name in the question. */
  readonly name?: string | undefined;
}

/** Beyond this depth a schema that contains itself gives null, where it leaves no other choice. */
const depthMax = 12;

/** A value for the schema. Of an object it has the required properties, or all of them where `whole` is true. */
export function valueFor(schema: unknown, source: ValueSource, { whole = false } = {}): unknown {
  const name = source.name ?? namesIn(source.question)[0];
  return new Maker(isObject(schema) ? schema : {}, { ...source, name }, whole).value(schema, '', 0);
}

class Maker {
  readonly #root: Fields;
  readonly #source: ValueSource;
  readonly #whole: boolean;

  constructor(root: Fields, source: ValueSource, whole: boolean) {
    this.#root = root;
    this.#source = source;
    this.#whole = whole;
  }

  /** @param key The property that the value is for. Its name says something about a text. */
  value(written: unknown, key: string, depth: number): unknown {
    if (!isObject(written) || depth > depthMax) return null;
    const schema = this.#resolved(written);
    if ('const' in schema) return schema['const'];
    if (Array.isArray(schema['enum'])) return this.#choice(schema['enum']);
    if ('default' in schema) return schema['default'];
    for (const choices of [schema['anyOf'], schema['oneOf']]) {
      if (Array.isArray(choices)) return this.value(choices.find(isNotNull) ?? choices[0], key, depth + 1);
    }
    if (Array.isArray(schema['allOf'])) {
      const parts = (schema['allOf'] as unknown[]).filter(isObject).map((part) => this.#resolved(part));
      return this.value({ ...schema, allOf: undefined, ...Object.assign({}, ...parts) }, key, depth + 1);
    }
    switch (typeOf(schema)) {
      case 'object':
        return this.#object(schema, depth);
      case 'array':
        return Array.from({ length: Number(schema['minItems'] ?? 1) }, () =>
          this.value(schema['items'], key, depth + 1),
        );
      case 'integer':
      case 'number':
        return this.#number(schema);
      case 'boolean':
        return false;
      case 'string':
        return this.#text(schema, key);
      default:
        return null;
    }
  }

  /** The schema that a `$ref` within the document names, with what stands beside the `$ref`. */
  #resolved({ $ref: ref, ...schema }: Fields): Fields {
    if (typeof ref !== 'string' || !ref.startsWith('#')) return schema;
    let found: unknown = this.#root;
    for (const part of ref.slice(1).split('/').filter(Boolean)) {
      const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
      found = isObject(found) ? found[key] : undefined;
    }
    return isObject(found) ? { ...found, ...schema, $ref: undefined } : schema;
  }

  #object(schema: Fields, depth: number): Fields {
    const properties = isObject(schema['properties']) ? schema['properties'] : {};
    const required: readonly unknown[] = Array.isArray(schema['required']) ? schema['required'] : [];
    const keys = Object.keys(properties).filter((key) => this.#whole || required.includes(key));
    return Object.fromEntries(keys.map((key) => [key, this.value(properties[key], key, depth + 1)]));
  }

  /** The first choice that the question names, else the first of all. */
  #choice(choices: readonly unknown[]): unknown {
    const question = this.#source.question.toLowerCase();
    return (
      choices.find((choice) => typeof choice === 'string' && question.includes(choice.toLowerCase())) ?? choices[0]
    );
  }

  #number(schema: Fields): number {
    const { minimum, exclusiveMinimum = -Infinity, maximum = Infinity, multipleOf } = schema;
    const step = Number(multipleOf ?? (typeOf(schema) === 'integer' ? 1 : 0));
    const found = numberIn(this.#source.question) ?? 1;
    const stepped = step === 0 ? found : Math.round(found / step) * step;
    const least = Number(minimum ?? Number(exclusiveMinimum) + 1);
    return Math.min(Math.max(stepped, least), Number(maximum));
  }

  #text(schema: Fields, key: string): string {
    const format = texts[String(schema['format'])];
    if (format !== undefined) return format;
    const { question, name } = this.#source;
    const text = takesQuestion.test(key) ? question.trim().slice(0, questionCharsMax) : (name ?? 'example');
    const charsMax = Number(schema['maxLength'] ?? text.length);
    return text.slice(0, charsMax).padEnd(Number(schema['minLength'] ?? 0), '.');
  }
}

/** Names of properties that take a whole question, and no name from it. */
export const takesQuestion = /query|question|search|prompt|text|message|content|summary|^q$/i;
const questionCharsMax = 400;

/** Texts that have a format and mean nothing. Names and addresses are of those that are reserved for examples. */
const texts: Readonly<Record<string, string | undefined>> = {
  date: '2026-01-01',
  time: '12:00:00Z',
  'date-time': '2026-01-01T12:00:00Z',
  duration: 'PT1M',
  email: 'someone@example.com',
  hostname: 'example.com',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  uri: 'https://example.com/',
  uuid: '00000000-0000-4000-8000-000000000000',
};

/** The type of a schema's values: the first that isn't null, or what the schema's other parts show. */
function typeOf({ type, properties, items }: Fields): unknown {
  if (type === undefined) return properties === undefined ? (items === undefined ? undefined : 'array') : 'object';
  return Array.isArray(type) ? ((type as unknown[]).find((each) => each !== 'null') ?? 'null') : type;
}

function isNotNull(schema: unknown): boolean {
  return isObject(schema) && schema['type'] !== 'null';
}
