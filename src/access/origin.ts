/**
 * Hosts and origins as requests name them, each brought to one spelling, so that equal ones compare as equal: letters in
 * lower case, no default port, no dot after the name, an IPv6 address in its short form. Pure. RFC 9110, section 4.2.3.
 *
 * Only `Host` and `Origin` are looked at. `X-Forwarded-*` is whatever the client says, unless a proxy is known to replace it.
 */
import { isIP } from 'node:net';

/** What a Host header may hold (RFC 3986, section 3.2.2): without it, `http://x@localhost` would pass for localhost. */
const hostCharacters = /^[^\s/\\?#@]+$/;
const webOrigin = /^https?:\/\/[^\s/\\?#@]+$/i;

/** The name or address in a Host header, without its port; empty if it holds none. */
export function hostNameOf(header: string | undefined): string {
  const url = urlOf('http:', header);
  return url === undefined ? '' : withoutDot(url.hostname);
}

/** Whether what `hostNameOf` gives is an IP address rather than a name. */
export function isAddress(host: string): boolean {
  return isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0;
}

/**
 * Whether an Origin is of the host that the request was sent to. A proxy that ends TLS may name the port or not, and browsers
 * leave the default one out, so the port is judged under the origin's own scheme.
 */
export function isSameHost(origin: string, header: string | undefined): boolean {
  // `null`, the origin of sandboxed pages and files, is no URL.
  if (!webOrigin.test(origin) || !URL.canParse(origin)) return false;
  const theirs = new URL(origin);
  const ours = urlOf(theirs.protocol, header);
  return ours !== undefined && hostOf(theirs) === hostOf(ours);
}

/** One spelling of an origin; that of an app or an extension, under a scheme of its own, has no ports to leave out. */
export function canonicalOrigin(origin: string): string {
  if (!webOrigin.test(origin) || !URL.canParse(origin)) return origin.toLowerCase();
  const url = new URL(origin);
  return `${url.protocol}//${hostOf(url)}`;
}

function urlOf(protocol: string, host: string | undefined): URL | undefined {
  if (host === undefined || !hostCharacters.test(host) || !URL.canParse(`${protocol}//${host}`)) return undefined;
  return new URL(`${protocol}//${host}`);
}

/** Without the port that is the scheme's default: a URL drops it by itself. */
function hostOf({ hostname, port }: URL): string {
  return port === '' ? withoutDot(hostname) : `${withoutDot(hostname)}:${port}`;
}

function withoutDot(name: string): string {
  return name.replace(/\.$/, '');
}
