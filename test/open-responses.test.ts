/** A connection that asks for more responses than it may is closed, and no other is read in that turn. */
import { EventEmitter } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { OpenResponses } from '../src/server/open-responses.ts';

function connected(pipelinedMax: number) {
  let floods = 0;
  const responses = new OpenResponses(pipelinedMax, () => (floods += 1));
  const server = new EventEmitter();
  responses.watch(server as Server);
  const socket = Object.assign(new EventEmitter(), { destroyed: false, destroy: () => (socket.destroyed = true) });
  server.emit('connection', socket);
  const request = () => responses.admit({ socket } as unknown as IncomingMessage, new EventEmitter() as ServerResponse);
  return { request, socket, floods: () => floods };
}

it('as many as it may ask for stop nothing', () => {
  const { request, socket, floods } = connected(2);
  expect([request(), request()]).toEqual([true, true]);
  expect([socket.destroyed, floods()]).toEqual([false, 0]);
});

it('the first beyond that closes it and ends the reading of this turn; what was parsed with it does so no more', () => {
  const { request, socket, floods } = connected(2);
  expect([request(), request(), request(), request(), request()]).toEqual([true, true, false, false, false]);
  expect([socket.destroyed, floods()]).toEqual([true, 1]);
});
