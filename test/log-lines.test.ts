/** Log lines as who reads them needs them: a person at a terminal, or a machine that takes one line at a time. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { Telemetry, type TelemetryOptions } from '../src/telemetry/telemetry.ts';
import { doors, readAll } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, startTestService } from './support/service.ts';

finishesCleanly();

function recorded(options: Partial<TelemetryOptions> = {}) {
  const written: string[] = [];
  const destination = { write: (line: string) => void written.push(line) };
  return { written, telemetry: new Telemetry({ logLevel: 'info', logContent: false, destination, ...options }) };
}

it('a time is ISO 8601, and a number has no digits that mean nothing', async () => {
  const { written, telemetry } = recorded();
  await using service = await startTestService({
    telemetry,
    retryTiming: { firstDelayMs: 1.123456, delayMaxMs: 9, random: () => 0.777 },
  });
  service.upstream.enqueue({ kind: 'fault', fault: 'overloaded' });
  await readAll(doors[0]!.stream(service.url, ask('hi')));
  const lines = written.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.map(({ msg }) => msg)).toEqual(['listening', 'upstream failed', 'generation ended']);
  for (const line of lines) {
    expect(line['time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    for (const value of Object.values(line))
      if (typeof value === 'number') expect(String(value)).toMatch(/^[\de.-]{1,12}$/);
    for (const [key, value] of Object.entries(line)) if (key.endsWith('Ms')) expect(value).toSatisfy(Number.isInteger);
  }
});

it.each([
  'overloaded',
  'rate_limited',
  'server_error',
  'cut_before_headers',
  'socket_cut',
  'html_200',
  'malformed_json',
] as const)('upstream’s %s is a line without frames, which would say nothing', async (fault) => {
  const { written, telemetry } = recorded();
  await using service = await startTestService({ telemetry });
  service.upstream.respondWith({ kind: 'fault', fault });
  await readAll(doors[0]!.stream(service.url, ask('hi')));
  const failed = written.filter((line) => line.includes('upstream failed'));
  expect(failed.length).toBeGreaterThan(0);
  for (const line of failed) expect(line).not.toContain('    at ');
});

it('a bug of ours has its frames', () => {
  const { written, telemetry } = recorded();
  telemetry.internalError('here', Object.assign(new TypeError('canary'), { code: 'ERR_INVALID_ARG_TYPE' }));
  expect(written[0]).toContain('log-lines.test.ts');
  expect(written[0]).not.toContain('canary');
});

it('content has no line end that only some readers know', async () => {
  const { written, telemetry } = recorded({ logContent: true });
  await using service = await startTestService({ telemetry });
  service.upstream.enqueue({ kind: 'text', text: ['a\u2028b'] });
  await readAll(doors[0]!.stream(service.url, ask('c\u2029d\u0085')));
  const line = written.find((each) => each.includes('generation ended'))!;
  expect(line).not.toMatch(/[\u0085\u2028\u2029]/);
  expect(JSON.parse(line)).toMatchObject({ text: 'a\u2028b', messages: [{ content: 'c\u2029d\u0085' }] });
});

it('a person is shown a line to read', () => {
  const { written, telemetry } = recorded({ readable: true });
  telemetry.listening('http://127.0.0.1:3000', { simulated: true, configs: ['default'] });
  expect(written.join('')).toMatch(
    /^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: listening \{"url":"http:\/\/127\.0\.0\.1:3000",.*\}\n$/,
  );
});

const script = spawnSync('script', ['--version']).status === 0;
it.skipIf(!script && !process.env['CI'])(
  'a stdout that is a terminal is shown lines to read, any other gets JSON',
  () => {
    const program = [
      "const { Telemetry } = await import('./src/telemetry/telemetry.ts');",
      "new Telemetry({ logLevel: 'info', logContent: false }).listening('http://here', { simulated: true, configs: [] });",
    ].join(' ');
    const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', program];
    const piped = spawnSync(node[0]!, node.slice(1), { encoding: 'utf8' });
    expect(JSON.parse(piped.stdout)).toMatchObject({ msg: 'listening' });
    const quoted = node.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' ');
    const shown = spawnSync('script', ['-qec', quoted, '/dev/null'], { encoding: 'utf8' });
    expect(shown.stdout).toContain('INFO');
    expect(shown.stdout).not.toContain('"msg"');
  },
);

it('lines that nobody reads are kept up to a bound, and cost the process no more', async () => {
  const program = [
    "const { Telemetry } = await import('./src/telemetry/telemetry.ts');",
    "const { setImmediate: turn } = await import('node:timers/promises');",
    "const telemetry = new Telemetry({ logLevel: 'info', logContent: false });",
    "const facts = { simulated: true, configs: ['x'.repeat(1_000)] };",
    "for (let line = 0; line < 60_000; line += 1) { telemetry.listening('http://here', facts); if (line % 100 === 0) await turn(); }",
    'gc(); process.stderr.write(`${process.memoryUsage().heapUsed}`);',
  ].join(' ');
  const args = ['--expose-gc', '--import', 'tsx', '--input-type=module', '--eval', program];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [heapBytes] = (await once(child.stderr, 'data')) as [Buffer];
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(Number(heapBytes)).toBeGreaterThan(0);
  expect(Number(heapBytes)).toBeLessThan(50 * 2 ** 20);
});
