/** What follows from an error code stands in one table, and PROTOCOL.md says the same. */
import { readFileSync } from 'node:fs';
import { TRPC_ERROR_CODES_BY_KEY } from '@trpc/server/rpc';
import { expect, it } from 'vitest';
import { errorTable, refusalsOf } from '../src/errors.ts';
import { errorCodes } from '../src/protocol.ts';

it('PROTOCOL.md has a line for each code, with its status and whether a retry helps', () => {
  const section = /^## Errors$[^]*?(?=^## )/m.exec(readFileSync('PROTOCOL.md', 'utf8'))![0];
  const lines = [...section.matchAll(/^\| `(\w+)` \| ([\w ]+) \| (yes|no) \|/gm)].map(([, ...cells]) => cells);
  const expected = errorCodes.map((code) => {
    const { refuses, status, retryable } = errorTable[code];
    return [
      code,
      refuses.length === 0 ? 'event' : code === 'internal' ? '500 or event' : `${status}`,
      retryable ? 'yes' : 'no',
    ];
  });
  expect(lines).toEqual(expected);
});

it('no code is one on which tRPC’s SSE link runs a subscription again', () => {
  const numbers = errorCodes.map((code) => TRPC_ERROR_CODES_BY_KEY[errorTable[code].trpc]);
  expect(numbers).not.toContain(-32603);
});

it('every request can be refused for its credentials, its origin, and a fault of the service', () => {
  for (const operation of ['stream', 'follow', 'cancel', 'list configs'] as const) {
    expect(refusalsOf(operation)).toEqual(expect.arrayContaining(['unauthorized', 'forbidden', 'internal']));
  }
});
