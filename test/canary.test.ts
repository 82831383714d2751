/** No secret gets out: not to a client and not into a log, whatever goes wrong and whoever quotes it. */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { faults, startSimulator, type Reply, type SimulatorRequest } from '../src/simulator.ts';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { withoutRequest } from '../src/upstream/upstream-words.ts';
import { doors, readAll, refusalOf, terminalOf, type Seen } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { plainConfig, startTestService, type TestService, type TestServiceOptions } from './support/service.ts';

finishesCleanly();

const secrets = {
  prompt: 'Never mention the Zanzibar treaty.',
  variable: 'quicksilver smelting',
  message: 'My card is 4929135724680042,\nmy "word" is Großglockner.',
  block: 'aubergine parade',
  key: 'sk-ant-kestrel-0001',
};
/** An address where nothing listens; the operating system's message names it. */
const nowhere = '127.66.77.88';
/** The texts that would reveal a secret. */
const telltales =
  /zanzibar|treaty|quicksilver|smelting|4929135724680042|glockner|aubergine|parade|kestrel|127\.66\.77/i;
/** The model's text is for clients, and not for the log. */
const answer = 'Pomegranates ripen in autumn. ';

const request = {
  config: 'default',
  variables: { subject: secrets.variable },
  messages: [
    { role: 'user' as const, content: secrets.message },
    { role: 'assistant' as const, content: 'I see.' },
    { role: 'user' as const, content: [{ type: 'text', text: secrets.block }] },
  ],
};
const config = {
  ...plainConfig,
  system_prompt: `${secrets.prompt} Teach {{subject}}.`,
  timeouts: { first_byte_ms: 5_000, idle_ms: 5_000, total_ms: 60_000 },
};

/** Everything that was written, except to clients. */
let written: string[];
const log = () => written.join('\n');

beforeEach(() => {
  written = [];
  vi.stubEnv('ANTHROPIC_LOG', 'debug');
  const note = (...parts: unknown[]) => written.push(parts.map(String).join(' ')) > 0;
  for (const stream of [process.stdout, process.stderr]) vi.spyOn(stream, 'write').mockImplementation(note);
  for (const level of ['debug', 'log', 'info', 'warn', 'error'] as const) {
    vi.spyOn(console, level).mockImplementation((...parts) => void note(...parts));
  }
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

/**
 * Gives a service to `use`. Then checks the result of `use`, and everything that was written until the service had
 * ended.
 */
async function holdsItsTongue<Got>(
  use: (service: TestService) => Promise<Got>,
  { configs, env }: Pick<TestServiceOptions, 'configs' | 'env'> = {},
): Promise<Got> {
  let address: string;
  let got: Got;
  {
    await using service = await startTestService({
      configs: { default: config, ...configs },
      env: { ANTHROPIC_API_KEY: secrets.key, ...env },
      telemetry: telemetry({ logContent: false }),
    });
    address = new URL(service.upstream.url).host;
    got = await use(service);
  }
  for (const told of [JSON.stringify(got), log()]) {
    expect(told).not.toMatch(telltales);
    expect(told).not.toContain(address);
  }
  expect(log()).not.toContain(answer.trim());
  return got;
}

function telemetry({ logContent }: { readonly logContent: boolean }): Telemetry {
  return new Telemetry({ logLevel: 'trace', logContent, destination: { write: (line) => void written.push(line) } });
}

describe('under a fault', () => {
  const args: Readonly<Record<string, number>> = { rate_limited_retry_after: 0.01, stall_with_pings: 10, slow: 1 };
  const cases = faults.map(({ name }, index) => ({ name, door: doors[index % doors.length]! }));

  it.each(cases)('$name, over $door.name', async ({ name, door }) => {
    const timeouts = { ...config.timeouts, ...(name.startsWith('stall') ? { first_byte_ms: 100, idle_ms: 100 } : {}) };
    const seen = await holdsItsTongue(
      ({ url, upstream }) => {
        upstream.respondWith({ kind: 'fault', fault: name, text: [answer], arg: args[name] });
        return readAll(door.stream(url, request));
      },
      { configs: { default: { ...config, timeouts } } },
    );
    expect(log()).toContain(`"outcome":"${terminalOf(seen).type}"`);
  });
});

/** Everything that upstream knows, in the forms in which servers quote it. */
const quotations: Readonly<Record<string, (request: SimulatorRequest) => string>> = {
  'in words': (asked) => `Refused: ${all(asked)}`,
  'as JSON': ({ body, headers }) => `Refused: ${JSON.stringify(body)} from ${JSON.stringify(headers)}`,
  'as ASCII JSON': (asked) =>
    JSON.stringify(all(asked)).replaceAll(/[^\0-~]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`),
  'as in a URL': (asked) => `Refused: ${encodeURIComponent(all(asked))}`,
  'in capitals': (asked) => `REFUSED: ${all(asked).toUpperCase()}`,
  'as a stack': (asked) => `Refused\n    at ${all(asked).replaceAll('\n', '\n    at ')}`,
};

function all({ headers }: SimulatorRequest): string {
  return [...Object.values(secrets), headers.authorization, `http://${headers.host}/`].join('; ');
}

/** The places in which upstream can quote, among them the type of an error and the id of a request. */
const places: Readonly<Record<string, (quotation: string, asked: SimulatorRequest) => Reply>> = {
  'a refusal': (quotation, asked) => {
    asked.refuse({ status: 400, ...errorOf(quotation) }, { 'request-id': asked.headers.authorization });
    return manual;
  },
  'a refusal that is retried': (quotation, asked) => {
    asked.refuse({ status: 529, ...errorOf(quotation) });
    return manual;
  },
  'a refusal that is no object': (quotation) => refusalWith(JSON.stringify({ error: quotation })),
  'a refusal of another form': (quotation) => refusalWith(JSON.stringify({ detail: [quotation], message: quotation })),
  'a web page': (quotation) => refusalWith(`<h1>${quotation}</h1>`, 'text/html'),
  'the first event': (quotation, asked) => {
    void asked.event('error', { type: 'error', error: errorOf(quotation), request_id: quotation });
    asked.end();
    return manual;
  },
  'an error in mid-stream': (quotation, asked) => {
    void asked.text(answer);
    void asked.event('error', { type: 'error', error: errorOf(quotation), request_id: quotation });
    asked.end();
    return manual;
  },
  'an event that is no JSON': (quotation, asked) => {
    void asked.text(answer);
    void asked.event('content_block_delta', `{"type": ${quotation.replaceAll('\n', ' ')}`);
    asked.end();
    return manual;
  },
};

const manual: Reply = { kind: 'manual' };

function errorOf(quotation: string) {
  return { type: quotation, message: quotation };
}

function refusalWith(bytes: string, contentType = 'application/json'): Reply {
  return { kind: 'raw', status: 422, headers: { 'content-type': contentType }, bytes };
}

it.each(Object.entries(quotations))('where upstream quotes all that it knows %s', async (_form, quotationOf) => {
  const views = await holdsItsTongue(async ({ url, upstream }) => {
    const seen: (readonly Seen[])[] = [];
    for (const place of Object.values(places)) {
      upstream.respondWith((asked) => place(quotationOf(asked), asked));
      seen.push(await readAll(doors[0]!.stream(url, request)));
    }
    return seen;
  });
  expect(views.map((seen) => terminalOf(seen).type)).toEqual(views.map(() => 'error'));
  expect(log().match(/"msg":"upstream failed"/g)!.length).toBeGreaterThanOrEqual(views.length);
});

it('nobody sees a base URL, whether a server answers there or not', async () => {
  await using gateway = await startSimulator({ docs: [] });
  const configs = {
    elsewhere: { ...config, base_url: `${gateway.url}/kestrel-gateway` },
    nowhere: { ...config, base_url: `http://${nowhere}:9`, retries: { max: 0 } },
  };
  const seen = await holdsItsTongue(
    async ({ url }) => {
      const views: (readonly Seen[])[] = [];
      for (const name of Object.keys(configs)) {
        views.push(await readAll(doors[0]!.stream(url, { ...request, config: name })));
      }
      return views;
    },
    { configs },
  );
  expect(seen.map((view) => terminalOf(view))).toMatchObject([
    { code: 'upstream_invalid_request' },
    { code: 'upstream_unreachable' },
  ]);
  expect(gateway.requests[0]!.path).toBe('/kestrel-gateway/v1/messages');
  expect(JSON.stringify(seen) + log()).not.toContain(new URL(gateway.url).host);
});

describe('a refusal', () => {
  const wrong: readonly object[] = [
    { config: 'none' },
    { variables: {} },
    { variables: { ...request.variables, other: secrets.variable } },
    { messages: [{ role: 'robot', content: secrets.message }] },
    { messages: [{ role: 'user', content: [{ text: secrets.block }] }] },
    { lastEventId: secrets.block },
  ];

  it.each(doors)('repeats nothing of it, over $name', async (door) => {
    const refusals = await holdsItsTongue(({ url }) =>
      Promise.all(wrong.map((fault) => refusalOf(door.stream(url, { ...request, ...fault })))),
    );
    expect(refusals.map(({ code }) => code)).toEqual(['config_not_found', ...Array(5).fill('invalid_input')]);
  });

  it('of a caller’s key repeats nothing of it', async () => {
    const sha256 = createHash('sha256').update('another').digest('hex');
    const refusal = await holdsItsTongue(
      async ({ url }) => {
        const response = await fetch(`${url}/api/llm/process_stream/default`, {
          method: 'POST',
          headers: { authorization: `Bearer ${secrets.key}`, 'content-type': 'application/json' },
          body: JSON.stringify(request),
        });
        return response.text();
      },
      { env: { LLM_API_KEYS: `somebody:${sha256}` } },
    );
    expect(refusal).toContain('unauthorized');
  });
});

describe('the log', () => {
  it('has upstream’s own sentence about a refusal, which no client gets', async () => {
    const message = 'max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens';
    const seen = await holdsItsTongue(({ url, upstream }) => {
      upstream.respondWith((asked) => {
        asked.refuse({ status: 400, type: 'invalid_request_error', message });
        return { kind: 'manual' };
      });
      return readAll(doors[0]!.stream(url, request));
    });
    expect(JSON.stringify(seen)).not.toContain('64000');
    // "is" and "the" also stand in the request.
    expect(log()).toContain('"said":"max_tokens: 100000 > 64000, which … maximum allowed number of output tokens"');
  });

  it('would have shown the secrets if it had been set to', async () => {
    {
      await using service = await startTestService({
        configs: { default: config },
        telemetry: telemetry({ logContent: true }),
      });
      await readAll(doors[0]!.stream(service.url, request));
    }
    expect(log()).toMatch(telltales);
  });
});

describe('of upstream’s sentence', () => {
  it.each([
    ['nothing stays that is in the request', 'bad word: hunter2', 'the hunter2 thing', 'bad word: …'],
    ['nothing stays that is in it in other letters', 'bad word: HUNTER2', 'Hunter2', 'bad word: …'],
    ['no part of a word of the request stays', 'starts with "hunt"', 'hunter2', 'starts with "…"'],
    ['no word stays that holds eight characters of it', 'not xhunter2024x', 'hunter2024', 'not …'],
    ['what is left out in a row is one gap', 'a b, c: end', 'a b c', '…: end'],
    ['nothing beyond ASCII stays, quoted or not', '不能用你好吧 here', '你好', '… here'],
    ['no line end stays', 'one\ntwo', 'x', 'one…two'],
    ['nothing stays where a quotation may be escaped', 'no \\u4f60 here', 'x', '…'],
    ['nothing stays where the request is too long to be searched', 'too long', 'y'.repeat(1_000_001), '…'],
    ['the beginning stays', 'z '.repeat(500), 'x', 'z '.repeat(150)],
  ])('%s', (_what, sentence, text, expected) => {
    expect(withoutRequest(sentence, [text])).toBe(expected);
  });
});
