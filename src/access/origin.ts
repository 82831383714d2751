/**
 * Hosts and origins, brought from the spelling of a request to one spelling, so that two of them can be compared as texts: letters in
 * lower case, no default port, no dot after the name, an IPv6 address in its short form. Pure. RFC 9110, section 4.2.3.
 *
 * Reads `Host` and `Origin` only. A client can write anything into `X-Forwarded-*`, unless a proxy is known to replace it.
 */
import { isIP } from 'node:net';

/** Characters of a host and port (RFC 3986, section 3.2.2). Without this check, `http://x@localhost` would pass for localhost. */
const hostCharacters = /^[^\s/\\?#@]+$/;
const webOrigin = /^https?:\/\/[^\s/\\?#@]+$/i;

/** The name or address in a Host header, without its port; empty if the header holds neither. */
export function hostNameOf(header: string | undefined): string {
  const url = urlOf('http:', header);
  return url === undefined ? '' : withoutDot(url.hostname);
}

/** Whether a result of `hostNameOf` is an IP address rather than a name. */
export function isAddress(host: string): boolean {
  return isIP(host.replace(/^\[(.*)\]$/, '$1')) !== 0;
}

/**
 * Whether an Origin belongs to the host that the request was sent to. The default port depends on the scheme, and behind a proxy that
 * ends TLS only the Origin has the client's scheme, so both ports are read under it.
 */
export function isSameHost(origin: string, header: string | undefined): boolean {
  // Sandboxed pages and files send the origin `null`, which is no URL.
  if (!webOrigin.test(origin) || !URL.canParse(origin)) return false;
  const theirs = new URL(origin);
  const ours = urlOf(theirs.protocol, header);
  return ours !== undefined && hostOf(theirs) === hostOf(ours);
}

/** One spelling of an origin. The origin of an app or a browser extension has a scheme of its own, without a default port. */
export function canonicalOrigin(origin: string): string {
  if (!webOrigin.test(origin) || !URL.canParse(origin)) return origin.toLowerCase();
  const url = new URL(origin);
  return `${url.protocol}//${hostOf(url)}`;
}

function urlOf(protocol: string, host: string | undefined): URL | undefined {
  if (host === undefined || !hostCharacters.test(host) || !URL.canParse(`${protocol}//${host}`)) return undefined;
  return new URL(`${protocol}//${host}`);
}

/** Name and port. `URL` drops the port where it is the scheme's default. */
function hostOf({ hostname, port }: URL): string {
  return port === '' ? withoutDot(hostname) : `${withoutDot(hostname)}:${port}`;
}

function withoutDot(name: string): string {
  return name.replace(/\.$/, '');
}
