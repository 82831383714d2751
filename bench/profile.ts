/**
 * `npm run profile`: shows where the service spends its time in one workload. Prints self time by layer, from
 * upstream's socket to the client's, and the functions with most self time.
 */
import type { Profiler } from 'node:inspector';
import { parseArgs } from 'node:util';
import type { ClientCommands } from './load/client.ts';
import type { UpstreamCommands } from './load/upstream.ts';
import { cores, launch, script } from './processes.ts';
import { targets } from './targets.ts';
import { workloads } from './workloads.ts';

/** The profiler's own time, and idle time. */
const notOurs = /^(?:\(idle\)|dispatch) /;
/** The first pattern that matches a function, "name file:line", gives its layer. Native functions have no file. */
const layers: readonly (readonly [layer: string, fits: RegExp])[] = [
  ['collect garbage', /^\(garbage collector\)/],
  ['outside of functions', /^\((?:program|root)\)/],
  ['start a generation', /node_modules\/(?:@anthropic-ai|zod|fastify|find-my-way|pino|rate-limiter)/],
  ['start a generation', /dist\/(?:access|prompt|configs|telemetry|upstream\/(?:request|retry))/],
  ['read', /^(?:execute|onStreamRead|parserOn\w*|socketOnData) |dist\/upstream\/(?:fetch|body)/],
  ['read', /node:(?:_http_client|_http_incoming|_http_common|internal\/streams\/readable)/],
  ['parse', /^(?:utf8Slice|latin1Slice|indexOf\w*) |dist\/(?:upstream\/|llm-service)/],
  ['log', /dist\/(?:stream-log|running-generation|generations|event-batches)/],
  ['serialize', /superjson|copy-anything|is-what|dist\/protocol/],
  ['write', /^(?:write\w*|utf8Write\w*|latin1Write\w*) |dist\/(?:doors|sse-response|rest|router|server|flow-control)/],
  ['write', /@trpc|node_modules\/ws\/|node:(?:_http_outgoing|_http_server|net|internal\/stream)/],
  ['event loop', /^runMicrotasks |node:/],
];
const functionsShown = 30;

interface Cost {
  readonly name: string;
  readonly layer: string;
  selfUs: number;
}

const { values } = parseArgs({
  options: {
    workload: { type: 'string', default: 'saturated' },
    target: { type: 'string', default: 'sse' },
    service: { type: 'string', default: 'dist/cli.js' },
    scale: { type: 'string', default: '1' },
  },
});
const workload = workloads.find(({ name }) => name === values.workload);
const target = targets.find(({ name }) => name === values.target);
if (!workload || !target?.start) throw new Error(`no workload "${values.workload}", or no server "${values.target}"`);

await using upstream = await launch<UpstreamCommands>({
  script: script('./load/upstream.js'),
  core: cores?.upstream,
  ready: /listens on (http:\S+)/,
});
await using client = await launch<ClientCommands>({ script: script('./load/client.js'), core: cores?.client });
await using server = await target.start({
  upstreamUrl: upstream.url,
  serviceCli: values.service,
  env: workload.env ?? {},
});
const bench = { upstream, client };
await workload.warmUp(bench, target, server, 1);
await server.remote.startProfile(null);
const figures = await workload.run(bench, target, server, Number(values.scale));
print(costsOf(await server.remote.stopProfile(null)));
process.stdout.write(`\n${JSON.stringify(figures, undefined, 2)}\n`);

/** Self time of each function, largest first. */
function costsOf({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Cost[] {
  const costs = new Map<string, Cost>();
  const costOfNode = new Map<number, Cost>();
  for (const { id, callFrame } of nodes) {
    const where = callFrame.url.replace(/^.*\/node_modules\//, 'node_modules/').replace(/^file:.*\/(dist\/)/, '$1');
    const name = `${callFrame.functionName || '(anonymous)'} ${where}${where === '' ? '' : `:${callFrame.lineNumber + 1}`}`;
    const cost = costs.get(name) ?? { name, layer: layerOf(name), selfUs: 0 };
    costs.set(name, cost);
    costOfNode.set(id, cost);
  }
  for (const [index, id] of samples.entries()) costOfNode.get(id)!.selfUs += timeDeltas[index] ?? 0;
  return [...costs.values()].toSorted((a, b) => b.selfUs - a.selfUs);
}

function layerOf(name: string): string {
  return layers.find(([, fits]) => fits.test(name))?.[0] ?? 'other';
}

function print(costs: readonly Cost[]): void {
  const busy = costs.filter(({ name }) => !notOurs.test(name));
  const totalUs = busy.reduce((sum, { selfUs }) => sum + selfUs, 0);
  const line = (selfUs: number, name: string) =>
    `${(selfUs / 1_000).toFixed(1).padStart(9)} ms ${((100 * selfUs) / totalUs).toFixed(1).padStart(5)} %  ${name}\n`;
  const byLayer = new Map<string, number>();
  for (const { layer, selfUs } of busy) byLayer.set(layer, (byLayer.get(layer) ?? 0) + selfUs);
  process.stdout.write(`${values.workload} over ${values.target}: self time by layer\n`);
  for (const [layer, selfUs] of [...byLayer].toSorted((a, b) => b[1] - a[1])) process.stdout.write(line(selfUs, layer));
  process.stdout.write('\nby function\n');
  for (const { name, layer, selfUs } of busy.slice(0, functionsShown)) {
    process.stdout.write(line(selfUs, `${layer.padEnd(20)} ${name}`));
  }
}
