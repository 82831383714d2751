/** WebSockets are counted by the address of their client, which a trusted proxy says and nobody else. */
import { describe, expect, it } from 'vitest';
import { ClientAddresses } from '../src/access/client-address.ts';
import { readSettings } from '../src/settings/settings.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { upgrade } from './support/raw-http.ts';
import { openSocket } from './support/raw-websocket.ts';
import { startTestService } from './support/service.ts';

finishesCleanly();

it('a socket beyond the limit of an address is refused, until another is closed', async () => {
  await using service = await startTestService({ env: { LLM_SOCKETS_PER_ADDRESS_MAX: '2' } });
  using _one = await openSocket(service.url);
  {
    using _two = await openSocket(service.url);
    const refused = await upgrade(`${service.url}/trpc`, { 'x-forwarded-for': '203.0.113.9' });
    expect(refused.status).toBe(429);
    expect(JSON.parse(refused.text)).toMatchObject({
      error: { code: 'rate_limited', message: 'At most 2 sockets from one address at once', retryAfterMs: 1_000 },
    });
  }
  await eventually(async () => expect((await upgrade(`${service.url}/trpc`)).status).toBe(101));
});

it('behind a trusted proxy each client has places of its own', async () => {
  const env = { LLM_SOCKETS_PER_ADDRESS_MAX: '1', LLM_TRUSTED_PROXIES: '127.0.0.0/8, ::1' };
  await using service = await startTestService({ env });
  using _one = await openSocket(service.url);
  expect((await upgrade(`${service.url}/trpc`)).status).toBe(429);
  expect((await upgrade(`${service.url}/trpc`, { 'x-forwarded-for': '203.0.113.9' })).status).toBe(101);
});

describe('the address of a client', () => {
  const addresses = new ClientAddresses(['10.0.0.0/8', '192.0.2.1', '2001:db8:ffff::/48']);
  const of = (remoteAddress: string | undefined, forwarded?: string) =>
    addresses.of({
      socket: { remoteAddress } as never,
      headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
    });

  it.each([
    ['that of the connection', '198.51.100.1', undefined, '198.51.100.1'],
    [
      'that of the connection, whatever a client that is no proxy writes',
      '198.51.100.1',
      '203.0.113.9',
      '198.51.100.1',
    ],
    ['what a trusted proxy writes', '10.1.2.3', '203.0.113.9', '203.0.113.9'],
    ['what the proxy adds, and not what the client wrote before', '10.1.2.3', '1.1.1.1, 203.0.113.9', '203.0.113.9'],
    ['what the first of several trusted proxies adds', '10.1.2.3', '1.1.1.1, 203.0.113.9, 192.0.2.1', '203.0.113.9'],
    ['the outermost proxy, where all are trusted', '10.1.2.3', '10.9.9.9, 192.0.2.1', '10.9.9.9'],
    ['the proxy that writes nonsense', '10.1.2.3', '203.0.113.9, unknown', '10.1.2.3'],
    ['without its port', '10.1.2.3', '203.0.113.9:4711', '203.0.113.9'],
    ['IPv4 in the form of IPv6', '::ffff:198.51.100.1', undefined, '198.51.100.1'],
    ['IPv4 in that form, in hex digits', '10.1.2.3', '::ffff:cb00:7109', '203.0.113.9'],
    ['written by a proxy in that form', '::ffff:10.1.2.3', '203.0.113.9', '203.0.113.9'],
    ['a network of IPv6', '2001:db8:1:2:3:4:5:6', undefined, '2001:db8:1:2::/64'],
    ['the same network, written otherwise', '2001:DB8:1:2::1', undefined, '2001:db8:1:2::/64'],
    ['a network with zeros', '2001:db8::1', undefined, '2001:db8:0:0::/64'],
    ['written by a proxy of IPv6', '2001:db8:ffff::1', '[2001:db8:1:2::9]:443', '2001:db8:1:2::/64'],
    ['with a zone', 'fe80::1%eth0', undefined, 'fe80:0:0:0::/64'],
  ])('is %s', (_what, remote, forwarded, expected) => {
    expect(of(remote, forwarded)).toBe(expected);
  });

  it('is none where the connection has none', () => {
    expect(of(undefined)).toBeUndefined();
  });
});

it.each(['proxy.example', '10.0.0.0/33', '10.0.0.0/', '10.0.0', '::1/129', '10.0.0.0/8/8'])(
  'LLM_TRUSTED_PROXIES takes no %j',
  (written) => {
    expect(() => readSettings({ LLM_TRUSTED_PROXIES: `127.0.0.1, ${written}` })).toThrow(
      /LLM_TRUSTED_PROXIES: expected IP addresses and networks such as 10\.0\.0\.0\/8, comma-separated, found "/,
    );
  },
);
