/**
 * Sockets to https servers through a proxy. The proxy opens a tunnel on CONNECT (RFC 9110, section 9.3.6), and TLS runs
 * through it to the server. Such sockets are kept like any others. A tunnel can be given up while it is being opened,
 * which closes it. Node does not let these sockets read into the buffer of socket-reads.ts, so their responses take the
 * way through Node's HTTP parser.
 */
import http from 'node:http';
import https, { type AgentOptions, type RequestOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { urlToHttpOptions } from 'node:url';
import { FailureCause } from '../failures.ts';

/** The options of a request through a `TunnelAgent`. */
export interface TunnelRequestOptions extends RequestOptions {
  /**
   * Aborts the opening of the tunnel. It is needed because Node doesn't inform an agent when a request is destroyed.
   */
  readonly tunnelSignal: AbortSignal;
}

type Created = (error: Error | null, socket: Duplex) => void;

export class TunnelAgent extends https.Agent {
  readonly #proxy: URL;

  constructor(proxy: URL, options: AgentOptions) {
    super(options);
    this.#proxy = proxy;
  }

  override createConnection(options: TunnelRequestOptions, created: Created): undefined {
    this.#tunnel(options).then(
      (socket) => created(null, socket),
      // The type demands a socket also beside an error.
      (error: Error) => created(error, undefined as unknown as Duplex),
    );
  }

  /** Rejects with a FailureCause where the proxy failed, or with the error of TLS. */
  async #tunnel(options: TunnelRequestOptions): Promise<Duplex> {
    const socket = await connect(this.#proxy, options);
    return new Promise((resolve, reject) => {
      const secure = super.createConnection({ ...options, socket } as RequestOptions) as Socket;
      const giveUp = () => void secure.destroy(new Error('the tunnel was given up'));
      const settle = (then: () => void) => {
        options.tunnelSignal.removeEventListener('abort', giveUp);
        secure.off('error', failed).off('close', closed);
        then();
      };
      const failed = (error: Error) => settle(() => reject(error));
      const closed = () => settle(() => reject(proxyFailed('proxy_unreachable')));
      options.tunnelSignal.addEventListener('abort', giveUp);
      secure.on('error', failed).on('close', closed);
      secure.once('secureConnect', () => settle(() => resolve(secure)));
      if (options.tunnelSignal.aborted) giveUp();
    });
  }
}

/** Asks the proxy for a connection to the server that the options name. */
function connect(proxy: URL, { host, port, tunnelSignal }: TunnelRequestOptions): Promise<Socket> {
  const authority = `${host?.includes(':') ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    const request = (proxy.protocol === 'https:' ? https : http).request({
      ...urlToHttpOptions(proxy),
      auth: null,
      agent: false,
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, ...proxyHeaders(proxy) },
      signal: tunnelSignal,
    });
    request.once('connect', ({ statusCode = 0 }, socket) => {
      if (statusCode >= 200 && statusCode < 300) return resolve(socket);
      socket.destroy();
      return reject(proxyFailed('proxy_refused', { status: statusCode }));
    });
    request.on('error', (cause) => reject(proxyFailed('proxy_unreachable', { cause })));
    request.end();
  });
}

/** The header with the credentials of the proxy's URL; empty where the URL has none. */
export function proxyHeaders({ username, password }: URL): Readonly<Record<string, string>> {
  if (username === '' && password === '') return {};
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` };
}

/** The failure to use a proxy. Upstream has received nothing. */
export function proxyFailed(code: string, facts: { readonly status?: number; readonly cause?: unknown } = {}) {
  const check = 'HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY';
  return new FailureCause('the proxy could not be used', { ...facts, code, check, sent: false });
}
