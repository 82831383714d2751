/**
 * Sends requests over node:http on kept sockets, and returns each response with a body that is still arriving. Knows
 * nothing of the Messages API. It sends only the headers that it is given, follows no redirect, and rejects only after
 * the socket is closed.
 */
import http, { type IncomingHttpHeaders, type OutgoingHttpHeaders, type RequestOptions } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { urlToHttpOptions } from 'node:url';
import { ResponseBody } from './body.ts';
import { decoderFor } from './decoding.ts';
import { FailureCause } from '../failures.ts';
import { onread, openShortWay } from './socket-reads.ts';
import { proxyFailed, proxyHeaders, TunnelAgent, type TunnelRequestOptions } from './tunnel.ts';

/** How many idle sockets are kept for each host, and for how long. */
const idleSocketsMax = 256;
const idleSocketMs = 30_000;
/** How much of a refusal's body is read, and for how long. An error message is much shorter. */
const refusalBytesMax = 64 * 1024;
const refusalMs = 5_000;

const agentOptions = { keepAlive: true, maxFreeSockets: idleSocketsMax, timeout: idleSocketMs, noDelay: true, onread };

/** A request without its body. It can be sent any number of times. */
export interface PreparedRequest {
  /** Whether the connection to the next server, which is upstream or a proxy, uses TLS. */
  readonly secure: boolean;
  /** Whether it is sent to a proxy, which forwards it. */
  readonly proxied: boolean;
  /** The proxy through which it is tunnelled; undefined where there is no tunnel. */
  readonly tunnel: URL | undefined;
  /** The URL's path. Host and query are left out, since they may hold secrets. */
  readonly path: string;
  readonly options: RequestOptions;
}

/** A response of any status. Its body must be drained or closed. */
export interface UpstreamResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: ResponseBody;
  /** The `content-encoding` of a body that can't be decoded; undefined where the body is decoded or isn't encoded. */
  readonly unknownEncoding: string | undefined;
}

/**
 * @param headers All headers of the request except those of the connection, the proxy and the body's encoding.
 * @throws TypeError where the address is no http or https URL.
 */
export function prepareRequest(
  address: string,
  headers: Readonly<Record<string, string>>,
  proxy?: URL,
): PreparedRequest {
  const url = new URL(address);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new TypeError('expected a URL of http or https');
  const secure = url.protocol === 'https:';
  // A server that compresses holds tokens back until a block of compressed data is full.
  const common = { method: 'POST', headers: { ...headers, 'accept-encoding': 'identity' }, timeout: 0 };
  const { pathname: path } = url;
  if (!proxy || secure) {
    const options = { ...urlToHttpOptions(url), ...common };
    return { secure, proxied: false, tunnel: proxy, path, options };
  }
  // A request without TLS names the whole URL to the proxy (RFC 9112, section 3.2.2).
  const options = {
    ...urlToHttpOptions(proxy),
    auth: null,
    ...common,
    path: url.href,
    headers: { ...common.headers, host: url.host, ...proxyHeaders(proxy) },
  };
  return { secure: proxy.protocol === 'https:', proxied: true, tunnel: undefined, path, options };
}

/** The same request with more headers, which replace those of the same names. */
export function withHeaders(request: PreparedRequest, more: Readonly<Record<string, string>>): PreparedRequest {
  const { options } = request;
  return { ...request, options: { ...options, headers: { ...(options.headers as OutgoingHttpHeaders), ...more } } };
}

interface Agents {
  readonly kept: http.Agent;
  /** Opens a new socket for each request. */
  readonly fresh: http.Agent;
}

/** The sockets to all upstreams. Disposing it closes the idle ones. Sockets in use are closed with their requests. */
export class UpstreamSockets implements Disposable {
  readonly #http = { kept: watchIdle(new http.Agent(agentOptions)), fresh: new http.Agent() };
  readonly #https = { kept: watchIdle(new https.Agent(agentOptions)), fresh: new https.Agent() };
  /** The agents of each proxy, by its URL. The environment names at most two proxies. */
  readonly #tunnels = new Map<string, Agents>();

  /**
   * Sends a request, and resolves when the head of its response has arrived. Once the signal aborts it rejects, but not
   * before the socket is closed.
   *
   * @param fresh Whether the request must be sent on a new socket.
   * @throws FailureCause `sent` says whether upstream may have received the request. `onKeptSocket` says whether the
   *   socket had been idle: upstream may have closed it in the moment in which it was used again, before or after it
   *   read the request.
   */
  async send(request: PreparedRequest, body: string, signal: AbortSignal, fresh = false): Promise<UpstreamResponse> {
    const agents = this.#agentsFor(request);
    return exchange(request, fresh ? agents.fresh : agents.kept, body, signal);
  }

  [Symbol.dispose](): void {
    for (const { kept, fresh } of [this.#http, this.#https, ...this.#tunnels.values()]) {
      kept.destroy();
      fresh.destroy();
    }
  }

  #agentsFor({ secure, tunnel }: PreparedRequest): Agents {
    if (!tunnel) return secure ? this.#https : this.#http;
    let agents = this.#tunnels.get(tunnel.href);
    if (!agents) {
      agents = { kept: watchIdle(new TunnelAgent(tunnel, agentOptions)), fresh: new TunnelAgent(tunnel, {}) };
      this.#tunnels.set(tunnel.href, agents);
    }
    return agents;
  }
}

/** Reads a refusal's body as text, as far as the bounds on its size and time allow, and closes the body. */
export async function readRefusal(body: ResponseBody, signal: AbortSignal): Promise<string> {
  const close = () => body.destroy();
  const timer = setTimeout(close, refusalMs);
  signal.addEventListener('abort', close, { once: true });
  if (signal.aborted) close();
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    await body.pipe((read) => {
      for (const chunk of read) {
        chunks.push(Buffer.from(chunk));
        bytes += chunk.length;
      }
      if (bytes >= refusalBytesMax) body.stop();
      return undefined;
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', close);
    await body.close();
  }
  return Buffer.concat(chunks).toString('utf8', 0, refusalBytesMax);
}

/** Closes an idle socket on which bytes arrive. They would be taken for the response to the next request. */
function watchIdle(agent: http.Agent): http.Agent {
  return agent.on('free', (socket: Socket) => void socket.on('data', closeSpeaker));
}

function closeSpeaker(this: Socket): void {
  this.destroy();
}

/** Sends the request on a socket of this agent. */
function exchange(
  { secure, proxied, options }: PreparedRequest,
  agent: http.Agent,
  body: string,
  signal: AbortSignal,
): Promise<UpstreamResponse> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const whole: TunnelRequestOptions = { ...options, agent, tunnelSignal: signal };
    const request = (secure ? https : http).request(whole);
    let error: NodeJS.ErrnoException | undefined;
    let responded = false;
    let sent = false;
    const abort = () => void request.destroy();
    signal.addEventListener('abort', abort);
    request.on('socket', (socket) => {
      socket.off('data', closeSpeaker);
      if (!socket.connecting) sent = true;
      else socket.once(secure ? 'secureConnect' : 'connect', () => (sent = true));
    });
    request.on('error', (thrown) => (error = thrown));
    request.on('response', (message) => {
      responded = true;
      signal.removeEventListener('abort', abort);
      const decoder = decoderFor(message.headers['content-encoding']);
      const unknownEncoding = typeof decoder === 'string' ? decoder : undefined;
      // The body is created in this call, since the message may end before a later call could add listeners.
      const responseBody = new ResponseBody(message, typeof decoder === 'string' ? undefined : decoder);
      if (!decoder) openShortWay(message, responseBody);
      const { statusCode: status = 0, headers } = message;
      resolve({ status, headers, body: responseBody, unknownEncoding });
    });
    // Node emits `close` after an error too, and only when the socket is closed. After a response the body handles it.
    request.on('close', () => {
      if (responded) return;
      signal.removeEventListener('abort', abort);
      if (error instanceof FailureCause) reject(error);
      else if (proxied && !sent) reject(proxyFailed('proxy_unreachable', { cause: error }));
      else reject(connectionFailed(error?.code ?? 'closed', { sent, onKeptSocket: request.reusedSocket }));
    });
    request.end(body);
  });
}

/** The message names no address, since an address may hold secrets. */
function connectionFailed(
  code: string,
  facts: { readonly sent: boolean; readonly onKeptSocket: boolean },
): FailureCause {
  return new FailureCause('the connection to upstream failed', { code, ...facts });
}
