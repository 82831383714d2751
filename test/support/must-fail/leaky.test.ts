/** Tests that each leave something open, and one that doesn't. test/harness.test.ts runs them. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { beforeAll, test } from 'vitest';
import { finishesCleanly } from '../finishes-cleanly.ts';

const registry = { viewers: 0 };
// Short, because each test that must fail waits for all of it; but longer than the runner's own timer of 100 ms.
finishesCleanly(() => registry, 150);

async function listen(): Promise<Server> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function connectTo(server: Server): Promise<Socket> {
  const accepted = once(server, 'connection');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await accepted;
  return socket;
}

// What the suite leaves open must not fail a test.
beforeAll(async () => {
  await listen();
});

test('a server', async () => {
  await listen();
});

test('a connection', async () => {
  const server = await listen();
  await connectTo(server);
  server.close();
});

test('two timers', () => {
  setTimeout(() => {}, 60_000);
  setTimeout(() => {}, 60_000);
});

test('an entry in a registry', ({ onTestFinished }) => {
  registry.viewers = 3;
  // All hooks have run before the check.
  onTestFinished(() => {
    registry.viewers -= 1;
  });
});

test('what closes in a moment', async () => {
  registry.viewers = 0;
  const server = await listen();
  const socket = await connectTo(server);
  socket.destroy();
  server.close();
});
