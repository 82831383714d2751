/** The files of deploy/ name only what there is, agree with each other, and leave the service the time and the room that it needs. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { readSettings } from '../src/settings/settings.ts';
import { heapBytesFor } from '../src/settings/sizing.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { readDockerfile } from './support/image.ts';
import { defaultLimits } from './support/limits.ts';
import { findProgram } from './support/programs.ts';
import { send } from './support/raw-http.ts';
import { startTestService } from './support/service.ts';

finishesCleanly();

const files = readdirSync('deploy');
const read = (file: string) => readFileSync(join('deploy', file), 'utf8');

interface Instance {
  readonly environment: Readonly<Record<string, string | number>>;
  readonly ports: readonly string[];
  readonly mem_limit: string;
  readonly stop_grace_period: string;
  readonly read_only: boolean;
  readonly build: { readonly context: string; readonly dockerfile: string };
}
const compose = parse(read('compose.yaml'), { merge: true }) as {
  readonly services: Readonly<Record<'one' | 'two', Instance>> & {
    readonly redis: { readonly command: readonly string[] };
    readonly nginx: { readonly volumes: readonly string[] };
  };
};
const instances = [compose.services.one, compose.services.two];

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}
interface Container {
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly resources: Readonly<Record<'requests' | 'limits', { readonly memory: string }>>;
  readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
  readonly startupProbe: Probe;
  readonly readinessProbe: Probe;
  readonly livenessProbe: Probe;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly securityContext: Readonly<Record<string, unknown>>;
}
interface Manifest {
  readonly kind: string;
  readonly data: Readonly<Record<string, string>>;
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly selector: { readonly app: string; readonly matchLabels: { readonly app: string } };
    readonly podSelector: { readonly matchLabels: { readonly app: string } };
    readonly ports: readonly { readonly targetPort: string }[];
    readonly ingress: readonly { readonly ports: readonly { readonly port: string }[] }[];
    readonly template: {
      readonly metadata: {
        readonly labels: { readonly app: string };
        readonly annotations: Readonly<Record<string, string>>;
      };
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly securityContext: Readonly<Record<string, unknown>>;
        readonly containers: readonly [Container];
        readonly volumes: readonly { readonly name: string }[];
      };
    };
  };
}
const manifests = new Map(
  parseAllDocuments(read('kubernetes.yaml')).map((document) => {
    const manifest = document.toJS() as Manifest;
    return [manifest.kind, manifest];
  }),
);
const manifest = (kind: string) => manifests.get(kind) ?? expect.fail(`no ${kind}`);
const pod = manifest('Deployment').spec.template;
const [container] = pod.spec.containers;

/** The values of each key of the unit, in order. */
const unit = new Map<string, string[]>();
for (const [, key, value] of read('llm-service@.service').matchAll(/^(\w+)=(.*)$/gm)) {
  unit.set(key!, [...(unit.get(key!) ?? []), value!]);
}

const nginx = read('nginx.conf');
const caddy = read('Caddyfile');
const dockerfile = await readDockerfile();
const imageEnv = Object.fromEntries(
  dockerfile.flatMap(({ name, words }) => (name === 'ENV' ? words.split(' ').map((pair) => pair.split('=')) : [])),
) as Record<string, string>;

/** The first group of the only match. */
function only(text: string, pattern: RegExp): string {
  const found = [...text.matchAll(pattern)];
  expect(found.length, String(pattern)).toBe(1);
  return found[0]![1]!;
}

describe('what they name exists:', () => {
  const pages = ['docs/operations.md', 'docs/best-practices.md', 'docs/troubleshooting.md', 'SECURITY.md'];
  it.each([...files.map((file) => `deploy/${file}`), ...pages])('the settings in %s', (file) => {
    const known = new Set(
      [...readFileSync('README.md', 'utf8').matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, name]) => name),
    );
    const named = [...readFileSync(file, 'utf8').matchAll(/\b(?:LLM|ANTHROPIC)_[A-Z_]+\b/g)].map(([name]) => name);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
  });

  it.each(files)('the files of this repository in %s', (file) => {
    const named = [...read(file).matchAll(/(?<![\w/.])(?:docs|deploy|test|src)\/[\w./@-]*\w/g)].map(([path]) => path);
    expect(named.filter((path) => !existsSync(path))).toEqual([]);
  });

  it('the paths that probes and proxies ask', async () => {
    await using service = await startTestService();
    const paths = [
      ...[container.startupProbe, container.readinessProbe, container.livenessProbe].map(({ httpGet }) => httpGet.path),
      only(caddy, /health_uri (\S+)/g),
      only(dockerfile.find(({ name }) => name === 'HEALTHCHECK')!.words, /PORT\}(\/\w+)/g),
    ];
    expect(new Set(paths)).toEqual(new Set(['/healthz', '/readyz']));
    for (const path of paths) expect([path, (await send(service.url + path)).status]).toEqual([path, 200]);
    // A probe of /readyz here would kill an instance that only waits for its Redis.
    expect(container.livenessProbe.httpGet.path).toBe('/healthz');
  });

  it('the config of the ConfigMap is one that the service takes, under the name that the pod reads', async () => {
    const [file] = Object.entries(manifest('ConfigMap').data);
    const [name, text] = file!;
    await using service = await startTestService({ configs: parse(text) as Record<string, unknown> });
    expect((await send(`${service.url}/readyz`)).status).toBe(200);
    expect(container.env.find((each) => each.name === 'LLM_CONFIG')!.value).toBe(`/etc/llm-service/${name}`);
  });

  it('the program that the unit and the image start is the one of package.json', () => {
    const { bin } = JSON.parse(readFileSync('package.json', 'utf8')) as { bin: Record<string, string> };
    const program = bin['llm-service']!;
    expect(unit.get('ExecStart')).toEqual([`/usr/bin/node /opt/llm-service/${program} serve`]);
    expect(JSON.parse(dockerfile.find(({ name }) => name === 'CMD')!.words)).toEqual(['node', program, 'serve']);
  });
});

describe('the settings that they make', () => {
  const ofPod = Object.fromEntries(container.env.map(({ name, value }) => [name, value]));
  const places = [
    ['the image', { LLM_AUTH: 'none' }],
    ['compose', Object.fromEntries(Object.entries(instances[0]!.environment).map(([name, of]) => [name, String(of)]))],
    ['Kubernetes', ofPod],
  ] as const;

  it.each(places)('of %s are such as the service takes', (_place, env) => {
    const settings = readSettings({ ...imageEnv, ...env });
    expect(settings).toMatchObject({ host: '0.0.0.0', port: 3_000 });
  });

  it('of docs/operations.md are such as the service takes, and so is its config', async () => {
    const [env = '', config = ''] = [/^ANTHROPIC_API_KEY=\n.*?(?=^END)/ms, /^default:\n.*?(?=^END)/ms].map(
      (pattern) => pattern.exec(readFileSync('docs/operations.md', 'utf8'))?.[0],
    );
    const variables = Object.fromEntries(
      env
        .trim()
        .replace('$name', 'llm.example.com')
        .split('\n')
        .map((line) => line.split('=')),
    );
    expect(readSettings(variables)).toMatchObject({ host: '127.0.0.1', apiKeysFile: '/etc/llm-service/keys.json' });
    await using service = await startTestService({ configs: parse(config) as Record<string, unknown> });
    expect((await send(`${service.url}/readyz`)).status).toBe(200);
  });
});

it('ports are the same from the proxies to the process', () => {
  const port = imageEnv['PORT']!;
  const metrics = String(instances[0]!.environment['LLM_METRICS_PORT']);
  const published = instances.map(({ ports }) => ports.map((each) => each.split(':')));
  for (const ports of published) expect(ports.map(([, , inside]) => inside)).toEqual([port, metrics]);
  // Open on this machine alone: beyond it, everything goes through nginx.
  for (const [address] of published.flat()) expect(address).toBe('127.0.0.1');
  const behind = published.map(([http]) => `127.0.0.1:${http![1]}`);
  expect([...nginx.matchAll(/^\s+server (\S+:\d+) /gm)].map(([, server]) => server)).toEqual(behind);
  expect(only(caddy, /reverse_proxy (.*) \{/g).split(' ')).toEqual(behind);

  const ofPod = new Map(container.ports.map(({ name, containerPort }) => [name, String(containerPort)]));
  expect(ofPod).toEqual(
    new Map([
      ['http', port],
      ['metrics', metrics],
    ]),
  );
  expect(container.env.find(({ name }) => name === 'LLM_METRICS_PORT')!.value).toBe(metrics);
  expect(pod.metadata.annotations['prometheus.io/port']).toBe(metrics);
  const named = [
    ...manifest('Service').spec.ports.map(({ targetPort }) => targetPort),
    ...manifest('NetworkPolicy').spec.ingress.flatMap(({ ports }) => ports.map((each) => each.port)),
    ...[container.startupProbe, container.readinessProbe, container.livenessProbe].map(({ httpGet }) => httpGet.port),
  ];
  expect(named.filter((name) => !ofPod.has(name))).toEqual([]);
});

it('whoever stops an instance waits longer than it drains, by ten seconds', () => {
  const least = defaultLimits.drainMs / 1_000 + 10;
  for (const instance of instances) expect(Number.parseInt(instance.stop_grace_period, 10)).toBeGreaterThan(least);
  expect(Number(unit.get('TimeoutStopSec')![0])).toBeGreaterThan(least);
  const [program, seconds] = container.lifecycle.preStop.exec.command;
  expect(program).toBe('sleep');
  expect(pod.spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(least + Number(seconds));
});

it('proxies wait longer for a quiet stream than two heartbeats, and take the largest request', () => {
  const seconds = [only(nginx, /proxy_read_timeout (\d+)s;/g), only(nginx, /proxy_send_timeout (\d+)s;/g)];
  for (const each of seconds) expect(1_000 * Number(each)).toBeGreaterThan(2 * defaultLimits.heartbeatMs);
  for (const size of [only(nginx, /client_max_body_size (\d+)m;/g), only(caddy, /max_size (\d+)MiB/g)]) {
    expect(2 ** 20 * Number(size)).toBeGreaterThan(defaultLimits.bodyBytesMax);
  }
  expect(nginx).toMatch(/proxy_buffering off;/);
  // Caddy streams and waits by itself. With these it would hide that a viewer has left, hold tokens back, or break WebSockets.
  expect(caddy).not.toMatch(/^\s*(?:flush_interval|encode|read_timeout|write_timeout) /m);
});

it('the heap fits the default limits, and the memory the heap with what is beside it, as docs/sizing.md has it', () => {
  const MiB = 2 ** 20;
  const heapOf = (options: string) => MiB * Number(only(options, /--max-old-space-size=(\d+)/g));
  const places = [
    ...instances.map(({ environment, mem_limit }) => [String(environment['NODE_OPTIONS']), mem_limit] as const),
    [unit.get('Environment')!.find((each) => each.startsWith('NODE_OPTIONS='))!, unit.get('MemoryMax')![0]!] as const,
    [container.env.find(({ name }) => name === 'NODE_OPTIONS')!.value, container.resources.limits.memory] as const,
  ];
  expect(places.length).toBe(4);
  for (const [options, memory] of places) {
    expect(heapOf(options)).toBeGreaterThanOrEqual(heapBytesFor(defaultLimits));
    const bytes = MiB * Number(/^(\d+)(?:m|M|Mi)$/.exec(memory)![1]);
    expect(bytes).toBeGreaterThanOrEqual(heapOf(options) + defaultLimits.heldBytesMax + 150 * MiB);
  }
  expect(container.resources.requests.memory).toBe(container.resources.limits.memory);
});

it('instances run as nobody who may do anything, on a tree that they may only read', () => {
  for (const instance of instances) {
    expect(instance).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
  }
  expect(pod.spec).toMatchObject({
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
  });
  expect(container.securityContext).toEqual({
    readOnlyRootFilesystem: true,
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
  });
  for (const [key, value] of [
    ['DynamicUser', 'yes'],
    ['NoNewPrivileges', 'yes'],
    ['ProtectSystem', 'strict'],
    ['CapabilityBoundingSet', ''],
  ]) {
    expect([key, unit.get(key!)]).toEqual([key, [value]]);
  }
});

it('on Kubernetes everything selects the pods, and what they mount is there', () => {
  const { app } = pod.metadata.labels;
  for (const kind of ['Deployment', 'PodDisruptionBudget']) {
    expect([kind, manifest(kind).spec.selector.matchLabels.app]).toEqual([kind, app]);
  }
  expect(manifest('Service').spec.selector.app).toBe(app);
  expect(manifest('NetworkPolicy').spec.podSelector.matchLabels.app).toBe(app);
  expect(container.volumeMounts.map(({ name }) => name)).toEqual(pod.spec.volumes.map(({ name }) => name));
});

it('compose builds the image from this repository, mounts the nginx file that is tested, and has a Redis that evicts nothing', () => {
  for (const { build } of instances) expect(existsSync(join('deploy', build.context, build.dockerfile))).toBe(true);
  const mounted = compose.services.nginx.volumes.map((volume) => volume.split(':')[0]!);
  expect(mounted.filter((path) => path.startsWith('.')).filter((path) => !existsSync(join('deploy', path)))).toEqual(
    [],
  );
  const { command } = compose.services.redis;
  expect(command[command.indexOf('--maxmemory-policy') + 1]).toBe('noeviction');
});

it('systemd understands the unit, and calls it safe', async () => {
  const systemd = findProgram('systemd-analyze');
  if (systemd === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), 'unit-'));
  const path = join(folder, 'llm-service@3001.service');
  // The service isn't installed on this machine.
  await writeFile(path, read('llm-service@.service').replace('/usr/bin/node', process.execPath));
  const run = promisify(execFile);
  const { stderr } = await run(systemd, ['verify', '--man=no', '--recursive-errors=no', path]);
  expect(stderr).toBe('');
  // Ten is the worst; a unit without any of it gets 9.6.
  await run(systemd, ['security', '--offline=yes', '--threshold=25', '--no-pager', path]);
  await rm(folder, { recursive: true });
});
