/** The ways in which a Redis lets a service in, or doesn't: TLS, a password, a user with few rights, a failover behind one address. */
import { readFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseRedisUrl } from '../src/settings/redis-url.ts';
import { startSimulator } from '../src/simulator.ts';
import { connect } from '../src/stream-log/redis/connection.ts';
import { doors, readAll as readView, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { cancelled, done, expectExactly, key, nobody, open, readAll, text } from './support/log-events.ts';
import { send } from './support/raw-http.ts';
import { startCluster } from './support/redis-cluster.ts';
import { found, startInstance, Viewer, type Instance } from './support/redis-instances.ts';
import { startRedis } from './support/redis.ts';
import { selfSigned } from './support/self-signed.ts';
import { startServiceProcess } from './support/service-process.ts';
import { ask, startTestService } from './support/service.ts';
import { requires } from './support/skip.ts';
import { newPrefix, redisLogs } from './support/stream-logs.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();

/** All that an instance does with Redis, two of them together. */
async function doEverything(redis: { readonly url: string }, prefix: string): Promise<void> {
  await using owner = startInstance(redis, prefix);
  await using other = startInstance(redis, prefix);
  const caller = crypto.randomUUID();
  await writeAndWatch(owner, other, caller);
  const { log } = await open(owner.logs, key(caller), { ...nobody, cancel: () => void log.append([cancelled]) });
  expect(await (await found(other.logs, log.record)).cancel()).toEqual(cancelled);
  expect(await other.logs.bar(key(caller), 60_000)).toBeUndefined();
  expect(await other.logs.list(caller, { limit: 10 })).toHaveLength(2);
  const { log: left } = await open(owner.logs, key(caller));
  const watching = new Viewer(await found(other.logs, left.record));
  await left.recountViewers();
  owner.kill();
  await watching.finished;
  expect(watching.last).toMatchObject({ code: 'producer_lost' });
}

async function writeAndWatch(owner: Instance, other: Instance, caller: string): Promise<void> {
  const { log } = await open(owner.logs, key(caller));
  const there = await found(other.logs, log.record);
  const viewer = new Viewer(there);
  await log.append([text('a')]);
  await viewer.untilText('a');
  const leaving = await there.read(-1, new AbortController().signal);
  await leaving.return();
  await log.append([text('b'), done]);
  await viewer.finished;
  expectExactly(viewer.batches, -1, [text('a'), text('b'), done]);
  expect(await there.snapshot()).toMatchObject({ state: 'done', text: 'ab' });
}

/** Settles when the log has named this as the kind of failure. */
async function refuses(redis: { readonly url: string }, prefix: string, kind: string): Promise<void> {
  const kinds: string[] = [];
  const say = () => {};
  const others = {
    redisLost: say,
    redisBack: say,
    redisWorks: say,
    logsRestored: say,
    logsReaped: say,
    logsFenced: say,
  };
  const lines = { ...others, redisFails: (failed: string) => void kinds.push(failed) };
  await using logs = redisLogs(redis, prefix, { lines });
  logs.connect().catch(() => {});
  await expect.poll(() => kinds).toContain(kind);
}

requires('redis-server')('a connection', () => {
  it('that is closed while it is being made again is closed for good', async () => {
    await using redis = await startRedis();
    const { signal } = new AbortController();
    const connection = await connect(parseRedisUrl(redis.url), { signal, callMs: 5_000, onError() {} });
    const closed = new Promise<void>((resolve) => {
      connection.onDown(() =>
        // Within the same turn a socket is opened, which is connected in a later one.
        queueMicrotask(() => {
          connection.close();
          resolve();
        }),
      );
    });
    const ready = new Promise<void>((resolve) => connection.onUp(resolve));
    await redis.send('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await closed;
    await ready;
    await expect(connection.command('', 'PING')).rejects.toThrow('closed');
    // Only the one that asks.
    await expect.poll(async () => (await redis.send('CLIENT', 'LIST')).match(/^id=/gm)?.length).toBe(1);
  });
});

requires('redis-server')('a Redis', () => {
  it('with TLS and a certificate of the operator’s own serves a process that knows the authority, and no other', async () => {
    await using redis = await startRedis({ port: 'tls' });
    await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
    const folder = await mkdtemp(join(tmpdir(), 'authority-'));
    const authority = join(folder, 'ca.pem');
    await writeFile(authority, selfSigned.cert);
    const env = { REDIS_URL: redis.url, LOG_LEVEL: 'info' };
    {
      await using service = await startServiceProcess({
        upstreamUrl: upstream.url,
        env: { ...env, NODE_EXTRA_CA_CERTS: authority },
      });
      const seen = await readView(doors[0]!.stream(service.url, ask('hi')));
      expect(terminalOf(seen).type).toBe('done');
      expect(textOf(seen)).not.toBe('');
      expect(await redis.send('DBSIZE')).not.toBe(':0\r\n');
    }
    {
      await using service = await startServiceProcess({ upstreamUrl: upstream.url, env });
      const { status, text: body } = await send(`${service.url}/readyz`);
      expect([status, JSON.parse(body)]).toEqual([503, { status: 'logs_unreachable' }]);
      await expect.poll(() => service.log).toMatch(/"kind":"[A-Z_]*CERT[A-Z_]*"/);
    }
    await rm(folder, { recursive: true });
  });

  it('with a password serves who knows it, and the log says what is wrong for everybody else', async () => {
    await using redis = await startRedis({ port: 'plain' });
    await redis.send('CONFIG', 'SET', 'requirepass', 'pass/word');
    const withPassword = (password: string) => ({
      url: redis.url.replace('://', `://:${encodeURIComponent(password)}@`),
    });
    await doEverything(withPassword('pass/word'), newPrefix());
    await refuses(withPassword('wrong'), newPrefix(), 'WRONGPASS');
    await refuses(redis, newPrefix(), 'NOAUTH');
  });

  it('with a user that may do no more than README says denies nothing that a service does', async () => {
    await using redis = await startRedis({ port: 'plain', keeps: 'all' });
    const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
    const rules = /^ACL SETUSER ((?:.+\\\n)*.+)$/m
      .exec(readme)![1]!
      .split(/[\s\\]+/)
      .filter(Boolean);
    expect(await redis.send('ACL', 'SETUSER', ...rules)).toBe('+OK\r\n');
    const [name] = rules;
    const password = rules.find((rule) => rule.startsWith('>'))!.slice(1);
    const url = redis.url.replace('://', `://${name}:${password}@`);
    await doEverything({ url }, '');
    await redis.send('SCRIPT', 'FLUSH');
    await doEverything({ url }, '');
    {
      await using service = await startTestService({ env: { REDIS_URL: url } });
      expect(terminalOf(await readView(doors[0]!.stream(service.url, ask('hi')))).type).toBe('done');
    }
    expect(await redis.send('ACL', 'LOG')).toBe('*0\r\n');
    // The keys of others are out of its reach.
    await refuses({ url }, 'elsewhere', 'NOPERM');
  });

  it('that became a replica is left for the one that took its place behind the same address, and nothing is lost', async () => {
    const args = ['--repl-diskless-sync-delay', '0'];
    await using first = await startRedis({ port: 'plain', args });
    await using second = await startRedis({ port: 'plain', args });
    const [portOfFirst, portOfSecond] = [first, second].map(({ url }) => new URL(url).port);
    await second.send('REPLICAOF', '127.0.0.1', portOfFirst!);
    await expect.poll(() => second.send('INFO', 'replication')).toContain('master_link_status:up');
    const http = (url: string) => url.replace('redis:', 'http:');
    await using address = await startTcpProxy(http(first.url));
    const url = address.url.replace('http:', 'redis:');
    const prefix = newPrefix();
    await using owner = startInstance({ url }, prefix);
    await using other = startInstance({ url }, prefix);
    const { log } = await open(owner.logs, key());
    const viewers = [new Viewer(log), new Viewer(await found(other.logs, log.record))];
    const all = [text('before,')];
    await log.append([...all]);
    await Promise.all(viewers.map((viewer) => viewer.untilText('before,')));
    const { connections } = address;
    address.retarget(http(second.url));
    await second.send('REPLICAOF', 'NO', 'ONE');
    await first.send('REPLICAOF', '127.0.0.1', portOfSecond!);
    for (let n = 0; n < 20; n += 1) {
      all.push(text(`${n},`));
      await log.append([text(`${n},`)]);
    }
    await Promise.all(viewers.map((viewer) => viewer.untilText('19,')));
    await log.append([done]);
    await Promise.all(viewers.map(({ finished }) => finished));
    for (const { batches } of viewers) expectExactly(batches, -1, [...all, done]);
    expect(address.connections).toBeGreaterThan(connections);
    expectExactly(await readAll(await found(other.logs, log.record)), -1, [...all, done]);
    expect(await second.send('INFO', 'replication')).toContain('role:master');
  });
});

requires('redis-server', 'redis-cli')('a cluster', () => {
  it('with a password, given once for all of its addresses, serves who knows it', async () => {
    await using cluster = await startCluster();
    await cluster.requirePassword('secret');
    const [first = '', ...others] = cluster.url.split(',');
    const url = [first.replace('://', '://:secret@'), ...others.map((each) => each.replace('redis://', ''))].join(',');
    await doEverything({ url }, newPrefix());
  });
});
