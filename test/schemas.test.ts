/** A schema becomes the JSON Schema that upstream takes; what upstream would refuse is found, with its place. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { dataSchemaOf, SchemaError, type SchemaUse } from '../src/tools/schemas.ts';

function problemsOf(written: unknown, use: SchemaUse = 'output'): string[] {
  try {
    dataSchemaOf(written, use);
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    return error.problems.map(({ path, message }) => `${path.join('.')}: ${message}`);
  }
  return [];
}

const closed = (properties: object, required = Object.keys(properties)) => ({
  type: 'object',
  properties,
  ...(required.length > 0 ? { required } : {}),
  additionalProperties: false,
});

describe('a schema of zod', () => {
  it('is closed, at every level', () => {
    const schema = z.object({ title: z.string(), author: z.object({ name: z.string() }), tags: z.array(z.string()) });
    expect(dataSchemaOf(schema, 'output').json).toEqual(
      closed({
        title: { type: 'string' },
        author: closed({ name: { type: 'string' } }),
        tags: { type: 'array', items: { type: 'string' } },
      }),
    );
  });

  it.each([
    ['an optional part', z.object({ a: z.string().optional() }), closed({ a: { type: 'string' } }, [])],
    ['a default', z.object({ a: z.int32().default(3) }).shape.a, { type: 'integer', default: 3 }],
    ['a part that may be null', z.string().nullable(), { type: ['string', 'null'] }],
    ['a choice', z.enum(['a', 'b']), { type: 'string', enum: ['a', 'b'] }],
    ['one value', z.literal('a'), { type: 'string', const: 'a' }],
    ['a format', z.email(), { type: 'string', format: 'email' }],
    ['a description', z.string().describe('What it is'), { type: 'string', description: 'What it is' }],
    [
      'kinds that a field tells apart',
      z.discriminatedUnion('kind', [z.object({ kind: z.literal('a') }), z.object({ kind: z.literal('b') })]),
      {
        anyOf: [closed({ kind: { type: 'string', const: 'a' } }), closed({ kind: { type: 'string', const: 'b' } })],
      },
    ],
    [
      'two objects at once',
      z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() })),
      closed({ a: { type: 'string' }, b: { type: 'string' } }),
    ],
  ])('keeps %s', (_, schema, json) => {
    expect(dataSchemaOf(schema, 'output').json).toMatchObject(json);
  });

  it('has the bounds that upstream doesn’t know in its description, and no word of those of every integer', () => {
    const { json } = dataSchemaOf(
      z.object({ a: z.string().min(2).describe('A name.'), b: z.int(), c: z.int().max(9) }),
      'output',
    );
    expect(json['properties']).toEqual({
      a: { type: 'string', description: 'A name.\n\n{minLength: 2}' },
      b: { type: 'integer' },
      c: { type: 'integer', description: '{maximum: 9}' },
    });
  });

  it('with a part that has a name becomes one with a definition', () => {
    const address = z.object({ street: z.string() }).meta({ id: 'Address' });
    expect(dataSchemaOf(z.object({ from: address, to: address }), 'output').json).toMatchObject({
      properties: { from: { $ref: '#/$defs/Address' }, to: { $ref: '#/$defs/Address' } },
      $defs: { Address: closed({ street: { type: 'string' } }) },
    });
  });

  const node = z.object({
    value: z.string(),
    get children() {
      return z.array(node);
    },
  });

  it.each([
    ['a record', z.record(z.string(), z.number()), /map from any key \(record\)$/],
    ['a record of anything', z.record(z.string(), z.unknown()), /map from any key \(record\)$/],
    ['a loose object', z.looseObject({ b: z.string() }), /takes any key \(loose\)$/],
    ['a schema that contains itself', node, /contains itself \(recursive\)$/],
    ['a tuple', z.tuple([z.string(), z.number()]), /a tuple, which upstream refuses$/],
    ['any', z.any(), /takes any value \(any, unknown\), which upstream refuses$/],
    ['unknown', z.unknown(), /takes any value \(any, unknown\), which upstream refuses$/],
    ['a transform', z.string().transform(Number), /found a transform$/],
    ['a preprocessing', z.preprocess(String, z.string()), /found a transform$/],
    ['a codec', z.stringbool(), /found a transform$/],
    ['a date', z.date(), /found a date$/],
    ['a map', z.map(z.string(), z.string()), /found a map$/],
    ['a bigint', z.bigint(), /found a bigint$/],
    ['a check in code', z.custom(() => true), /found a custom$/],
  ])('is refused for %s, whose place is named', (_, part, problem) => {
    const inObject = problemsOf(z.object({ good: z.string(), a: z.object({ part }) }));
    expect(inObject.length).toBeGreaterThan(0);
    for (const each of inObject) expect(each).toMatch(/^a\.part/);
    expect(inObject.join('\n')).toMatch(new RegExp(problem.source, 'm'));
    const [inList] = problemsOf(z.object({ list: z.array(part).optional() }));
    expect(inList).toMatch(/^list\.items/);
  });

  it('is refused for all of them at once', () => {
    expect(problemsOf(z.object({ a: z.date(), b: z.any() }))).toHaveLength(2);
  });
});

describe('the input of a tool', () => {
  it('may have what upstream doesn’t guarantee: only a strict one is closed', () => {
    const schema = z.object({ a: z.record(z.string(), z.number()), b: z.string().min(1) });
    expect(dataSchemaOf(schema, 'tool').json).toMatchObject({ type: 'object', properties: { b: { minLength: 1 } } });
    expect(problemsOf(schema, 'tool')).toEqual([]);
    expect(problemsOf(schema, 'strict_tool')).toEqual([expect.stringMatching(/^a: .*record/)]);
  });

  it('may have a transform, since the service executes the tool with what it makes', async () => {
    const schema = dataSchemaOf(z.object({ at: z.string().transform((text) => new Date(text)) }), 'tool');
    expect(schema.json).toMatchObject({ properties: { at: { type: 'string' } } });
    expect(await schema.validate({ at: '2026-01-01' })).toEqual({ ok: true, value: { at: new Date('2026-01-01') } });
  });

  it.each(['tool', 'strict_tool'] as const)('has no part that JSON can’t hold: %s', (use) => {
    expect(problemsOf(z.object({ list: z.array(z.object({ at: z.date() })) }), use)).toEqual([
      'list.items.at: expected a part that JSON can hold, found a date',
    ]);
  });

  it.each([z.string(), z.union([z.object({}), z.object({ a: z.string() })])])('is an object', (schema) => {
    expect(problemsOf(schema, 'tool')).toEqual([expect.stringMatching(/expected a schema of an object/)]);
  });
});

describe('a JSON Schema', () => {
  const person = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    type: 'object',
    properties: { name: { type: 'string', minLength: 1 }, age: { type: 'integer', minimum: 0 } },
    required: ['name'],
  };

  it('is closed too, and judges values by all of its bounds', async () => {
    const schema = dataSchemaOf(person, 'output');
    expect(schema.json).toEqual(
      closed(
        {
          name: { type: 'string', description: '{minLength: 1}' },
          age: { type: 'integer', description: '{minimum: 0}' },
        },
        ['name'],
      ),
    );
    expect(await schema.validate({ name: 'Ada', age: 3 })).toEqual({ ok: true, value: { name: 'Ada', age: 3 } });
    expect(await schema.validate({ name: '', age: -1 })).toMatchObject({
      ok: false,
      issues: [{ path: 'name' }, { path: 'age' }],
    });
    expect(await schema.validate({})).toMatchObject({ ok: false, issues: [{ path: 'name' }] });
  });

  it('judges formats', async () => {
    const schema = dataSchemaOf({ type: 'string', format: 'email' }, 'output');
    expect(await schema.validate('a@b.example')).toMatchObject({ ok: true });
    expect(await schema.validate('no')).toMatchObject({ ok: false });
  });

  it('sends the definitions that it uses', () => {
    const definitions = { used: { type: 'object', properties: {} }, unused: { type: 'string' } };
    expect(dataSchemaOf({ type: 'array', items: { $ref: '#/definitions/used' }, definitions }, 'output').json).toEqual({
      type: 'array',
      items: { $ref: '#/definitions/used' },
      definitions: { used: closed({}, []) },
    });
  });

  it.each([
    [{ type: 'strnig' }, 'type: expected JSON Schema'],
    [
      { type: 'object', properties: { a: { type: 'string', minLength: -1 } } },
      'properties.a.minLength: expected JSON Schema',
    ],
    [{ type: 'object', properites: {} }, 'properites: unknown keyword; did you mean "properties"?'],
    [{ type: 'object', properties: { a: {} } }, 'properties.a: expected a type'],
    [{ type: 'object', properties: { a: { type: 'array' } } }, 'properties.a.items: expected a type'],
    [{ type: 'object', additionalProperties: true }, 'additionalProperties: expected an object with these keys'],
    [
      { type: 'object', additionalProperties: { type: 'string' } },
      'additionalProperties: expected an object whose keys',
    ],
    [{ type: 'object', required: ['a'] }, 'required: expected names of properties, found "a"'],
    [{ type: 'string', not: { const: 'a' } }, 'not: expected no not'],
    [{ enum: [{ a: 1 }] }, 'enum: expected texts'],
    [{ allOf: [{ type: 'string' }, { minLength: 1 }] }, 'allOf: expected one schema'],
    [{ anyOf: [{ type: 'string' }], properties: {} }, 'properties: expected no properties beside anyOf'],
    [{ type: 'array', prefixItems: [{ type: 'string' }] }, 'prefixItems: expected a list'],
    [
      { type: 'object', properties: { next: { $ref: '#' } } },
      'properties.next.$ref: expected a schema that ends, found one that contains itself (recursive)',
    ],
    [
      { $ref: '#/$defs/a', $defs: { a: { type: 'object', properties: { b: { $ref: '#/$defs/a' } } } } },
      '$defs.a.properties.b.$ref: expected a schema that ends',
    ],
    [{ $ref: 'https://example.com/a.json' }, ": expected a JSON Schema, found one that can't be used: can't resolve"],
    ['text', ': expected a schema'],
    [null, ': expected a schema'],
    [[], ': expected a schema'],
  ])('is refused with the place: %j', (schema, problem) => {
    expect(problemsOf(schema)[0]).toContain(problem);
  });
});

describe('a schema of another library', () => {
  const foreign = (jsonSchema?: object, validate: (value: unknown) => unknown = (value) => ({ value })) => ({
    '~standard': { version: 1, vendor: 'own', validate, ...(jsonSchema ? { jsonSchema } : {}) },
  });
  const text = { input: () => ({ type: 'string' }), output: () => ({ type: 'string' }) };

  it('is used by the interface alone, also where it is a function', () => {
    expect(dataSchemaOf(foreign(text), 'output').json).toEqual({ type: 'string' });
    expect(
      dataSchemaOf(
        Object.assign(() => {}, foreign(text)),
        'output',
      ).json,
    ).toEqual({ type: 'string' });
  });

  it('that has no JSON Schema is refused, except for results, which upstream gets no schema of', () => {
    expect(problemsOf(foreign())).toEqual([expect.stringMatching(/found one of own without$/)]);
    expect(dataSchemaOf(foreign(), 'result').json).toEqual({});
  });

  it('that can’t say itself in JSON Schema is refused in the words of the library', () => {
    const throws = {
      input: () => ({}),
      output: () => {
        throw new Error('no transforms');
      },
    };
    expect(problemsOf(foreign(throws))).toEqual([expect.stringMatching(/own says: no transforms$/)]);
  });

  it('names the place of an issue, and a schema that throws makes the value invalid, without its words', async () => {
    const issue = { message: 'expected more', path: ['a', { key: 0 }, 'b'] };
    const judges = dataSchemaOf(
      foreign(text, () => Promise.resolve({ issues: [issue] })),
      'output',
    );
    expect(await judges.validate(1)).toEqual({ ok: false, issues: [{ path: 'a[0].b', message: 'expected more' }] });
    const throws = dataSchemaOf(
      foreign(text, () => {
        throw new Error('a secret');
      }),
      'output',
    );
    const judged = await throws.validate(1);
    expect(judged.ok).toBe(false);
    expect(JSON.stringify(judged)).not.toContain('secret');
  });

  it('with many issues tells the first twenty', async () => {
    const issues = Array.from({ length: 50 }, () => ({ message: 'x'.repeat(1_000) }));
    const judged = await dataSchemaOf(
      foreign(text, () => ({ issues })),
      'output',
    ).validate(1);
    expect(judged).toMatchObject({ ok: false, issues: { length: 21 } });
  });
});
