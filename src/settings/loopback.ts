/** Knows which names and addresses only this machine can reach. */
import { BlockList, isIP } from 'node:net';

/** An IPv6 address has many spellings, and a list of addresses knows them all. It costs too much for the IPv4 addresses of most requests. */
const loopbackIpv6 = new BlockList();
loopbackIpv6.addAddress('::1', 'ipv6');
loopbackIpv6.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');

/** Whether only this machine can be reached by the name or address: localhost, anything in 127.0.0.0/8, `::1` (also in brackets). */
export function isLoopback(name: string): boolean {
  const host = name.replace(/^\[(.*)\]$/, '$1');
  if (host.toLowerCase() === 'localhost') return true;
  const version = isIP(host);
  if (version === 4) return host.startsWith('127.');
  return version === 6 && loopbackIpv6.check(host, 'ipv6');
}
