/** `npm run bench -- --telemetry`: what metrics and traces add to the cost of a token. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { service, yardstick, type Server, type StartContext, type Target } from './targets.ts';
import { cpu, loadCore, round, stream, type Run, type Workload } from './workloads.ts';

/** Beyond loopback a service has metrics only where it is asked for them. */
const withoutMetrics = { HOST: '0.0.0.0', LLM_AUTH: 'none' };

const without: Target = {
  name: yardstick,
  title: 'without metrics and traces',
  door: 'sse',
  ours: true,
  start: ({ env, ...context }) => service({ ...context, env: { ...env, ...withoutMetrics } }),
};

const withBoth: Target = {
  name: 'telemetry',
  title: 'with metrics, and traces to a collector',
  door: 'sse',
  ours: true,
  start: startWithCollector,
};

/** The collector runs here, so that its time is not the service's. It reads what comes, and keeps nothing. */
async function startWithCollector({ env, ...context }: StartContext): Promise<Server> {
  const collector = createServer((request, response) => {
    request.resume().on('end', () => response.end());
  });
  collector.listen(0, '127.0.0.1');
  await once(collector, 'listening');
  const { port } = collector.address() as AddressInfo;
  const endpoint = { LLM_METRICS_PORT: '0', OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` };
  const server = await service({ ...context, env: { ...env, ...withoutMetrics, ...endpoint } });
  return {
    ...server,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      collector.closeAllConnections();
      collector.close();
    },
  };
}

/** As many tokens in all, whatever the length of an answer: each answer has a span of its request, and one of its message. */
const runOf =
  (streams: number, tokens: number): Run =>
  (bench, target, server, scale) =>
    stream(bench, target, server, { streams, tokens: round(tokens * scale) });

export const telemetryWorkloads: readonly Workload[] = [
  {
    name: 'telemetry',
    title: '1,000,000 tokens in 500 answers, as fast as they are taken',
    figures: [cpu, { key: 'tokensPerSecond', label: 'tokens/s', digits: 0 }, loadCore],
    own: [without, withBoth],
    relativeTo: 'without',
    targets: [],
    rounds: 5,
    warmUp: runOf(100, 500),
    run: runOf(500, 2_000),
  },
];
