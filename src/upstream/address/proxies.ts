/**
 * Chooses the proxy for an address by `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, with curl's rules. Reads
 * no environment and opens no connection. A proxy's URL may contain credentials, so no message contains any part of it.
 */
import { BlockList, isIP } from 'node:net';

/** What a proxy must be, in the words of error messages. */
export const proxyExpected = 'the http or https URL of a proxy; SOCKS is not supported';

/** The proxies of a process. Each URL is a result of `parseProxy`. */
export interface Proxies {
  /** URL of the proxy for upstreams of http; undefined if there is none. */
  readonly httpProxy: string | undefined;
  /** URL of the proxy for upstreams of https; undefined if there is none. */
  readonly httpsProxy: string | undefined;
  /** Used where `httpProxy` or `httpsProxy` is undefined. */
  readonly allProxy: string | undefined;
  /**
   * Hosts to which requests go without a proxy: names, addresses and networks, separated by commas; `*` means all
   * hosts.
   */
  readonly noProxy: string | undefined;
}

/**
 * Parses a proxy's URL. Without a scheme it is http, as for curl. Undefined where it is no http or https URL, SOCKS
 * included.
 */
export function parseProxy(text: string): string | undefined {
  const written = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(written) ? new URL(written) : undefined;
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url.href : undefined;
}

/** Returns the proxy for requests to this http or https URL; undefined if none is used. */
export function proxyFor(url: URL, { httpProxy, httpsProxy, allProxy, noProxy = '' }: Proxies): URL | undefined {
  const proxy = (url.protocol === 'https:' ? httpsProxy : httpProxy) ?? allProxy;
  return proxy === undefined || isExempt(url, noProxy) ? undefined : new URL(proxy);
}

function isExempt(url: URL, noProxy: string): boolean {
  const host = bare(url.hostname);
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry !== '' && (entry === '*' || covers(entry, host, port)));
}

/**
 * An entry of `NO_PROXY`: a name, an address or a network, and a port. An IPv6 address is in brackets where a port follows.
 */
const entryWithPort = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/;

/**
 * Whether an entry of `NO_PROXY` covers the host. A name, with or without `.` or `*.` before it, covers its subdomains
 * too.
 */
function covers(entry: string, host: string, port: string): boolean {
  const [, bracketed, plain, onlyPort] = entryWithPort.exec(entry) ?? [];
  if (onlyPort !== undefined && onlyPort !== port) return false;
  // An IPv6 address without brackets doesn't match the pattern.
  const [network = '', prefix] = (bracketed ?? plain ?? entry).split('/');
  const family = isIP(network);
  if (family === 0) return isBelow(host, bare(network.replace(/^\*?\./, '')));
  const bitsMax = family === 4 ? 32 : 128;
  const bits = prefix === undefined ? bitsMax : Number(prefix);
  if (isIP(host) === 0 || !Number.isInteger(bits) || bits < 0 || bits > bitsMax) return false;
  const list = new BlockList();
  list.addSubnet(network, bits, family === 4 ? 'ipv4' : 'ipv6');
  return list.check(host, isIP(host) === 4 ? 'ipv4' : 'ipv6');
}

function isBelow(host: string, name: string): boolean {
  return name !== '' && (host === name || host.endsWith(`.${name}`));
}

/** Removes the brackets of an IPv6 address, and the dot at the end of a full domain name. */
function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
}
