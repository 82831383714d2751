import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { commandLine, type Running } from './support/command-line.ts';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send } from './support/raw-http.ts';
import { ask, plainConfig } from './support/service.ts';

finishesCleanly();
const cli = commandLine();

const config = 'configs.json';
const valid = { LLM_CONFIG: config, PORT: '0' };
const keys = `alice:${'0'.repeat(64)}`;
const listening = /listens on (http:\/\/\S+)/;

beforeAll(async () => {
  await writeFile(join(cli.cwd, config), JSON.stringify({ default: plainConfig }));
});

function serve(env: Readonly<Record<string, string>> = {}): Running {
  return cli.start(['serve'], { env: { ...valid, ...env } });
}

async function urlOf(service: Running): Promise<string> {
  return (await service.until('stderr', listening))[1]!;
}

async function stop(service: Running) {
  service.child.kill('SIGTERM');
  return service.ended;
}

describe('serve', () => {
  it('says where it listens and that it simulates, and answers there', async () => {
    const service = serve();
    const url = await urlOf(service);
    expect(Number(new URL(url).port)).toBeGreaterThan(0);
    await service.until('stderr', /simulator/);
    const seen = await readAll(doors[2]!.stream(url, ask('/sim echo well')));
    expect(seen[0]!.event).toMatchObject({ type: 'start', simulated: true });
    expect(textOf(seen)).toBe('well');
    expect(await stop(service)).toMatchObject({ code: 0 });
  });

  it('simulates nothing if there is a key, and shows the key nowhere', async () => {
    const service = serve({ ANTHROPIC_API_KEY: 'sk-canary', LOG_LEVEL: 'trace' });
    await urlOf(service);
    const { code, stdout, stderr } = await stop(service);
    expect(code).toBe(0);
    expect(stderr).not.toContain('simulator');
    expect(stdout).toContain('"simulated":false');
    expect(stdout + stderr).not.toContain('sk-canary');
  });

  it.each([
    ['a key', { LLM_API_KEYS: keys }, 401],
    ['the word that everyone may ask', { LLM_AUTH: 'none' }, 200],
  ])('listens beyond loopback with %s', async (_what, env, status) => {
    const service = serve({ HOST: '0.0.0.0', ...env });
    const { port } = new URL(await urlOf(service));
    expect((await send(`http://127.0.0.1:${port}/api/llm/configs`)).status).toBe(status);
    expect((await stop(service)).code).toBe(0);
  });

  it.each([
    ['lets what runs end within the drain time', '3600000', '/sim tokens 50', { type: 'done' }],
    ['cancels what does not', '100', '/sim tokens 200000', { type: 'cancelled', reason: 'shutdown' }],
  ])('%s', async (_what, drainMs, asked, terminal) => {
    const service = serve({ LLM_DRAIN_MS: drainMs });
    // Some 50 tokens a second.
    const view = doors[2]!.stream(await urlOf(service), ask(asked));
    await view.until(({ type }) => type === 'text');
    service.child.kill('SIGTERM');
    expect(terminalOf(await readAll(view))).toMatchObject(terminal);
    expect((await service.ended).code).toBe(0);
  });
});

describe('serve does not start', () => {
  async function refused(env: Readonly<Record<string, string>>, code: number): Promise<string> {
    const ended = await cli.run(['serve'], { env: { ...valid, ...env } });
    expect(ended.stderr).not.toMatch(/^\s+at /m);
    expect(ended.stdout + ended.stderr).not.toMatch(listening);
    expect(ended).toMatchObject({ code });
    return ended.stderr;
  }

  it('with configs that are not valid: each problem with file, path, what was expected and what was found', async () => {
    const broken = { one: { ...plainConfig, max_tokens: 'many' }, two: { ...plainConfig, temprature: 1, model: 7 } };
    await writeFile(join(cli.cwd, 'broken.json'), JSON.stringify(broken));
    const told = await refused({ LLM_CONFIG: 'broken.json' }, 2);
    expect(told).toContain('broken.json');
    expect(told).toMatch(/one\.max_tokens: .*expected.*number.*"many"/);
    expect(told).toMatch(/two\.model: expected .*, found 7/);
    expect(told).toMatch(/two\.temprature: .*temperature/);
  });

  it.each([
    ['a config file that is not there', { LLM_CONFIG: 'nowhere.json' }, ['nowhere.json']],
    ['LLM_CONFIGS that are no JSON', { LLM_CONFIGS: '{' }, ['LLM_CONFIGS']],
    ['LLM_CONFIGS that are no configs', { LLM_CONFIGS: '{"extra":{"model":1}}' }, ['LLM_CONFIGS', 'extra.model']],
    ['a port that is none', { PORT: '65536' }, ['PORT: expected', '65535', '"65536"']],
    ['a limit with a typo', { LLM_GENERATION_MAX: '1' }, ['LLM_GENERATION_MAX', 'LLM_GENERATIONS_MAX']],
    ['an address beyond loopback, without keys', { HOST: '0.0.0.0' }, ['HOST', 'LLM_API_KEYS', 'LLM_AUTH=none']],
    [
      'every problem at once',
      { PORT: 'x', LOG_LEVEL: 'loud', LLM_DRAIN_MS: '-1' },
      ['PORT', 'LOG_LEVEL', 'LLM_DRAIN_MS'],
    ],
  ])('with %s: exit code 2, and what is to be done', async (_what, env, words) => {
    const told = await refused(env, 2);
    for (const word of words) expect(told).toContain(word);
  });

  it('if its port is taken: exit code 1, and the port is named', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      const told = await refused({ PORT: String(port) }, 1);
      expect(told).toContain(String(port));
      expect(told).toBe(
        `error: 127.0.0.1:${port} is taken by another process; choose another port (PORT=${otherThan(port)}, or PORT=0 for any free one)\n`,
      );
      const metrics = await refused({ LLM_METRICS_PORT: String(port) }, 1);
      expect(metrics).toContain(`(LLM_METRICS_PORT=${otherThan(port)}, or LLM_METRICS_PORT=0 for any free one)`);
      const simulate = await cli.run(['simulate', '--port', String(port)]);
      expect(simulate).toMatchObject({ code: 1, stderr: expect.stringContaining(`--port ${otherThan(port)}`) });
    } finally {
      server.close();
      await once(server, 'close');
    }
  });

  it.each([
    ['203.0.113.9', 'this machine has no address 203.0.113.9'],
    ['nowhere.invalid', 'found nowhere.invalid, which no name server knows'],
  ])('on an address that is not its own: exit code 2, and what is to be done: %s', async (HOST, words) => {
    const told = await refused({ HOST, LLM_AUTH: 'none' }, 2);
    expect(told).toContain(`error: HOST: `);
    expect(told).toContain(words);
    const ofMetrics = await refused({ LLM_METRICS_PORT: '0', LLM_METRICS_HOST: HOST }, 2);
    expect(ofMetrics).toContain(`error: LLM_METRICS_HOST: `);
    expect(ofMetrics).toContain(words);
  });
});

function otherThan(port: number): number {
  return port < 65_535 ? port + 1 : port - 1;
}
