import { describe, expect, it } from 'vitest';
import { defaultInputLimits } from '../src/protocol.ts';
import { settingsReference } from '../src/settings/settings-reference.ts';
import { readSettings, SettingsError } from '../src/settings/settings.ts';
import { traceDoubts, tracePlace } from '../src/settings/trace-variables.ts';

const digest = 'a'.repeat(64);
const otherDigest = 'b'.repeat(64);

/** The problems of an environment, as `NAME: message`. */
function problemsOf(env: Record<string, string>): string[] {
  try {
    readSettings(env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems.map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
}

describe('settings', () => {
  it('are complete without any variable: on loopback, with the simulator', () => {
    const { limits, ...values } = readSettings({});
    expect(values).toEqual({
      host: '127.0.0.1',
      port: 3000,
      loopback: true,
      anthropicApiKey: undefined,
      anthropicBaseUrl: undefined,
      simulate: true,
      configFile: 'llm.config.ts',
      configs: undefined,
      redisUrl: undefined,
      apiKeys: [],
      jwtCallerClaim: 'sub',
      allowedOrigins: [],
      allowedHosts: [],
      trustedProxies: [],
      auth: undefined,
      logLevel: 'info',
      openAiDoor: false,
      logContent: false,
      page: true,
      metricsHost: '127.0.0.1',
      otlpProtocol: 'http/protobuf',
      otelTracesExporter: 'otlp',
      otelSdkDisabled: false,
    });
    expect(limits).toMatchObject(defaultInputLimits);
    expect(limits).toMatchObject({ bodyBytesMax: 10 * 2 ** 20, logRetentionMs: 600_000, tombstoneMs: 86_400_000 });
  });

  it('take every variable', () => {
    const settings = readSettings({
      HOST: '0.0.0.0',
      PORT: '0',
      ANTHROPIC_API_KEY: ' sk-ant-1\n',
      ANTHROPIC_AUTH_TOKEN: 'token',
      ANTHROPIC_BASE_URL: 'http://localhost:11434',
      ANTHROPIC_CUSTOM_HEADERS: 'X-Tenant: blue',
      LLM_UPSTREAM_KEY_HEADER: 'X-API-Key',
      HTTPS_PROXY: 'http://proxy.example',
      http_proxy: 'proxy.example:3128',
      ALL_PROXY: 'https://proxy.example',
      NO_PROXY: 'localhost, 10.0.0.0/8',
      LLM_CONFIG: 'conf/llm.yaml',
      LLM_CONFIGS: '{}',
      LLM_API_KEYS: `alice:${digest}, bob:${otherDigest.toUpperCase()},`,
      LLM_ALLOWED_ORIGINS: 'https://App.example.com/,http://localhost:5173,chrome-extension://abc',
      LLM_ALLOWED_HOSTS: 'llm.internal,[::2]',
      LOG_LEVEL: 'silent',
      LLM_LOG_CONTENT: '1',
      LLM_PAGE: 'off',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://traces.example/in',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
      OTEL_TRACES_EXPORTER: 'otlp,console',
      OTEL_SDK_DISABLED: 'TRUE',
      LLM_METRICS_PORT: '9464',
      LLM_METRICS_HOST: '::',
      LLM_BODY_BYTES_MAX: '2048',
      LLM_LOG_RETENTION_MS: '0',
      PATH: '/bin',
    });
    expect(settings).toMatchObject({
      host: '0.0.0.0',
      port: 0,
      loopback: false,
      anthropicApiKey: 'sk-ant-1',
      anthropicAuthToken: 'token',
      anthropicBaseUrl: 'http://localhost:11434',
      anthropicCustomHeaders: { 'x-tenant': 'blue' },
      upstreamKeyHeader: 'x-api-key',
      httpsProxy: 'http://proxy.example/',
      httpProxy: 'http://proxy.example:3128/',
      allProxy: 'https://proxy.example/',
      noProxy: 'localhost, 10.0.0.0/8',
      simulate: false,
      configFile: 'conf/llm.yaml',
      configs: '{}',
      redisUrl: undefined,
      apiKeys: [
        { name: 'alice', sha256: digest },
        { name: 'bob', sha256: otherDigest },
      ],
      allowedOrigins: ['https://app.example.com', 'http://localhost:5173', 'chrome-extension://abc'],
      allowedHosts: ['llm.internal', '[::2]'],
      logLevel: 'silent',
      logContent: true,
      page: false,
      otlpEndpoint: 'http://collector:4318',
      otlpTracesEndpoint: 'https://traces.example/in',
      otlpProtocol: 'grpc',
      otlpTracesProtocol: 'http/json',
      otelTracesExporter: 'otlp,console',
      otelSdkDisabled: true,
      metricsPort: 9_464,
      metricsHost: '::',
      limits: { bodyBytesMax: 2_048, logRetentionMs: 0 },
    });
  });

  it('treat an empty or blank variable as unset', () => {
    expect(readSettings({ PORT: '', ANTHROPIC_API_KEY: ' ', LLM_API_KEYS: '', LLM_GENERATIONS_MAX: '' })).toEqual(
      readSettings({}),
    );
  });

  it('use no simulator as soon as there is a key or a base URL', () => {
    expect(readSettings({ ANTHROPIC_API_KEY: 'k' }).simulate).toBe(false);
    expect(readSettings({ ANTHROPIC_BASE_URL: 'http://localhost:1' }).simulate).toBe(false);
  });
});

describe('settings that are not valid', () => {
  it('are refused with every problem, in one message', () => {
    const env = { PORT: '99999', LOG_LEVEL: 'loud', LLM_DRAIN_MS: '30s', LLM_GENERATION_MAX: '5' };
    expect(() => readSettings(env)).toThrow(
      expect.objectContaining({
        message: [
          'these environment variables are not valid:',
          '  PORT: expected a whole number from 0 to 65535, found "99999"',
          '  LOG_LEVEL: expected one of trace, debug, info, warn, error, fatal, silent, found "loud"',
          '  LLM_DRAIN_MS: expected a whole number from 0 to 2147483647, found "30s"',
          '  LLM_GENERATION_MAX: unknown variable; did you mean "LLM_GENERATIONS_MAX"?',
        ].join('\n'),
      }),
    );
  });

  it.each([
    ['PORT', '-1'],
    ['PORT', '80.5'],
    ['HOST', 'two words'],
    ['LLM_AUTH', 'None'],
    ['LLM_LOG_CONTENT', 'yes'],
    ['LLM_PAGE', 'no'],
    ['LLM_HEARTBEAT_MS', '0'],
    ['LLM_HEARTBEAT_MS', '2147483648'],
    ['LLM_GENERATIONS_MAX', '1e3'],
    ['LLM_ALLOWED_ORIGINS', '*'],
    ['LLM_ALLOWED_ORIGINS', 'https://*.example.com'],
    ['LLM_ALLOWED_ORIGINS', 'https://a.example/path'],
    ['LLM_ALLOWED_ORIGINS', 'a.example'],
    ['LLM_ALLOWED_ORIGINS', 'null'],
    ['LLM_ALLOWED_HOSTS', 'a.example:80'],
    ['LLM_ALLOWED_HOSTS', 'http://a.example'],
    ['LLM_UNHEARD_OF', '1'],
    ['LLM_METRICS_PORT', '65536'],
    ['LLM_METRICS_PORT', '3000'],
    ['LLM_METRICS_HOST', '0.0.0.0'],
  ])('are refused for %s=%s', (name, value) => {
    expect(problemsOf({ [name]: value })).toEqual([expect.stringMatching(new RegExp(`^${name}: `))]);
  });

  it.each([
    ['ANTHROPIC_API_KEY', 'the-secret with blanks'],
    ['ANTHROPIC_BASE_URL', 'https://the-secret@a.example'],
    ['REDIS_URL', 'redis://:the-secret@redis?prefix=a b'],
    ['REDIS_URL', 'redis://:the-secret@redis,b?other=1'],
    ['REDIS_URL', 'http://:the-secret@redis'],
    ['LLM_API_KEYS', `alice:${digest},the-secret`],
    ['LLM_API_KEYS', 'alice:the-secret'],
  ])('are refused without telling the value of %s', (name, value) => {
    const problems = problemsOf({ [name]: value });
    expect(problems).toEqual([expect.stringContaining(name)]);
    expect(problems.join()).not.toContain('the-secret');
  });

  it('name the entry of a list that is wrong', () => {
    expect(problemsOf({ LLM_API_KEYS: `alice:${digest},bob:1` })).toEqual([expect.stringMatching(/in entry 2 of 2$/)]);
    expect(problemsOf({ LLM_ALLOWED_HOSTS: 'a.example,b:1' })).toEqual([expect.stringMatching(/found "b:1"$/)]);
  });

  it('are refused where they contradict each other', () => {
    expect(problemsOf({ LLM_API_KEYS: `alice:${digest},bob:${digest}` })).toHaveLength(1);
    expect(problemsOf({ LLM_API_KEYS: `alice:${digest}`, LLM_AUTH: 'none' })).toHaveLength(1);
    expect(problemsOf({ LLM_LOG_BYTES_MAX: '4096', LLM_LOGS_BYTES_MAX: '2048' })).toHaveLength(1);
  });

  it('are not refused for what Kubernetes and Docker add for a service that is called llm', () => {
    expect(
      problemsOf({
        LLM_SERVICE_HOST: '10.0.0.1',
        LLM_SERVICE_PORT: '80',
        LLM_SERVICE_PORT_HTTP: '80',
        LLM_PORT: 'tcp://10.0.0.1:80',
        LLM_SERVICE_PORT_80_TCP_ADDR: '10.0.0.1',
        LLM_METRICS_PORT: 'tcp://10.0.0.2:9464',
      }),
    ).toEqual([]);
    expect(readSettings({ LLM_METRICS_PORT: 'tcp://10.0.0.2:9464' }).metricsPort).toBeUndefined();
    expect(problemsOf({ LLM_PORT: '80' })).toHaveLength(1);
  });
});

describe('traces', () => {
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/' };
  const traces = 'http://collector:4318/v1/traces';

  it.each<[env: Record<string, string>, url: string | undefined, protocol?: string]>([
    [{}, undefined],
    [endpoint, traces, 'http/protobuf'],
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'https://key@otlp.example/a/b' },
      'https://key@otlp.example/a/b/v1/traces',
      'http/protobuf',
    ],
    [{ ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' }, traces, 'http/json'],
    [
      { ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json' },
      traces,
      'http/json',
    ],
    [{ ...endpoint, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://other/in' }, 'http://other/in', 'http/protobuf'],
    [{ ...endpoint, OTEL_SDK_DISABLED: 'true' }, undefined],
    [{ ...endpoint, OTEL_TRACES_EXPORTER: 'none' }, undefined],
  ])('with %j go to %s', (env, url, protocol) => {
    const settings = readSettings(env);
    expect(tracePlace(settings)).toEqual(url === undefined ? undefined : { url, protocol });
    expect(traceDoubts(settings)).toEqual([]);
  });

  it.each<[env: Record<string, string>, doubt: string]>([
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'key:4317' },
      'OTEL_EXPORTER_OTLP_ENDPOINT: nothing is traced: expected an http or https URL, found text, not shown here',
    ],
    [
      { ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      'OTEL_EXPORTER_OTLP_PROTOCOL: nothing is traced: expected http/protobuf or http/json, found "grpc"',
    ],
  ])('with %j go nowhere, which is no reason not to start', (env, doubt) => {
    const settings = readSettings(env);
    expect(tracePlace(settings)).toBeUndefined();
    expect(traceDoubts(settings).map(({ path, message }) => `${path}: ${message}`)).toEqual([doubt]);
  });
});

describe('a service that other machines can reach', () => {
  it.each(['127.0.0.1', '127.8.9.10', '::1', '0:0:0:0:0:0:0:1', 'localhost'])('is not one on %s', (HOST) => {
    expect(readSettings({ HOST }).loopback).toBe(true);
  });

  it.each(['0.0.0.0', '::', '10.0.0.1', '128.0.0.1', 'llm.example', 'localhost.example'])(
    'is refused on %s without keys, and told what to set',
    (HOST) => {
      expect(problemsOf({ HOST })).toEqual([
        `HOST: "${HOST}" lets other machines in; set LLM_API_KEYS, or LLM_AUTH=none if everyone may ask`,
      ]);
      expect(readSettings({ HOST, LLM_AUTH: 'none' }).loopback).toBe(false);
      expect(readSettings({ HOST, LLM_API_KEYS: `alice:${digest}` }).loopback).toBe(false);
    },
  );

  it('gets no message about missing keys if the keys are invalid', () => {
    expect(problemsOf({ HOST: '0.0.0.0', LLM_API_KEYS: 'x' })).toEqual([expect.stringMatching(/^LLM_API_KEYS: /)]);
  });
});

describe('the reference', () => {
  it('has a row for every variable, with its default', () => {
    const rows = settingsReference().split('\n');
    const names = rows.flatMap((row) => /^\| `([A-Z_]+)`/.exec(row)?.[1] ?? []);
    expect(names).toHaveLength(37 + Object.keys(readSettings({}).limits).length);
    expect(rows).toContain('| `PORT` | `3000` | The port to listen on; 0 takes any free port |');
    expect(rows).toContain(
      '| `LLM_DRAIN_MS` | `30000` (30 s) | `0` | Time that running generations have to finish when the process is asked to end |',
    );
  });
});
