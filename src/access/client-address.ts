/**
 * The address that a client is counted under. Behind a proxy every connection comes from the proxy, which writes the client's
 * address into `X-Forwarded-For`. A client can write that header too, so only the entries of trusted proxies are believed.
 */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** What `LLM_TRUSTED_PROXIES` may list. */
export const networkExpected = 'IP addresses and networks such as 10.0.0.0/8, comma-separated';

/** Whether a text is an IP address, or a network of them in the notation of CIDR. */
export function isNetwork(written: string): boolean {
  const [address = '', bits, ...others] = written.split('/');
  const version = isIP(address);
  if (version === 0 || others.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}

export class ClientAddresses {
  readonly #trusted = new BlockList();

  /** @param trustedProxies Texts that `isNetwork` takes. */
  constructor(trustedProxies: readonly string[]) {
    for (const written of trustedProxies) {
      const [address = '', bits] = written.split('/');
      const family = familyOf(address);
      if (bits === undefined) this.#trusted.addAddress(address, family);
      else this.#trusted.addSubnet(address, Number(bits), family);
    }
  }

  /**
   * The client's address; for IPv6 its network of 64 bits, since every subscriber has all addresses of one. Undefined where the
   * connection has no address.
   */
  of({ socket, headers }: Pick<IncomingMessage, 'socket' | 'headers'>): string | undefined {
    let address = socket.remoteAddress;
    if (address === undefined) return undefined;
    const forwarded = headers['x-forwarded-for'];
    // Each proxy adds the address that it was called from, so the last entry is that of the proxy before this service.
    const entries = (typeof forwarded === 'string' ? forwarded : '').split(',');
    while (entries.length > 0 && this.#trusts(address)) {
      const before = addressIn(entries.pop()!);
      // The proxy that wrote this is the last one that is known.
      if (before === undefined) break;
      address = before;
    }
    return networkOf(address);
  }

  #trusts(address: string): boolean {
    return this.#trusted.check(address, familyOf(address));
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6';
}

/** The address in an entry of the header, which some proxies write with a port; undefined where there is none. */
function addressIn(entry: string): string | undefined {
  const written = entry.trim();
  const address = /^\[(.+)\](?::\d+)?$/.exec(written)?.[1] ?? /^([\d.]+):\d+$/.exec(written)?.[1] ?? written;
  return isIP(address) === 0 ? undefined : address;
}

function networkOf(address: string): string {
  if (isIP(address) === 4) return address;
  // In one spelling, without a zone, and without the `::` that stands for groups of zeros.
  const { hostname } = new URL(`http://[${address.replace(/%.*$/, '')}]`);
  const [before = '', after] = hostname.slice(1, -1).split('::');
  const head = before === '' ? [] : before.split(':');
  const tail = after === undefined || after === '' ? [] : after.split(':');
  const groups = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  // An address of IPv4 in the form of IPv6, for which there are two spellings.
  if (groups.slice(0, 6).join(':') === '0:0:0:0:0:ffff') return dotted(groups.slice(6));
  return `${groups.slice(0, 4).join(':')}::/64`;
}

/** The two last groups of an address of IPv6 as one of IPv4. */
function dotted(groups: readonly string[]): string {
  return groups.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]).join('.');
}
