/**
 * Which proxy stands before an address: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` as curl reads them. Reads no
 * environment and opens no connection. A proxy's URL may hold credentials, so none of it is ever part of a message.
 */
import { BlockList, isIP } from 'node:net';

/** What a proxy has to be, as a problem says it. */
export const proxyExpected = 'the http or https URL of a proxy; SOCKS is not supported';

/** The proxies of a process, each as `parseProxy` gives it. */
export interface Proxies {
  readonly httpProxy: string | undefined;
  readonly httpsProxy: string | undefined;
  /** For those of the two that aren't given. */
  readonly allProxy: string | undefined;
  /** Hosts that are asked without a proxy: names, addresses, networks, `*` for all; comma-separated. */
  readonly noProxy: string | undefined;
}

/** A proxy's URL; where it has no scheme it is http, as for curl. Undefined for what is none, SOCKS among it. */
export function parseProxy(text: string): string | undefined {
  const written = /^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(written) ? new URL(written) : undefined;
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url.href : undefined;
}

/** The proxy for requests to this URL of http or https; undefined where they go there directly. */
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
    .some((entry) => entry !== '' && (entry === '*' || names(entry, host, port)));
}

/** An address, with or without a prefix length; of IPv6, in brackets where a port follows. */
const entryWithPort = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/;

/** A name stands for itself and for all below it, with or without a leading dot or `*.`; an address may be a network. */
function names(entry: string, host: string, port: string): boolean {
  const [, bracketed, plain, onlyPort] = entryWithPort.exec(entry) ?? [];
  if (onlyPort !== undefined && onlyPort !== port) return false;
  // What the form does not fit is an IPv6 address without brackets.
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

/** A host without the brackets of an IPv6 address, and without the dot that ends a full name. */
function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
}
