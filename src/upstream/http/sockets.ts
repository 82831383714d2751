/**
 * Requests over node:http whose answer is streamed, on sockets that are kept. Knows nothing of the Messages API. It sends
 * only headers that it knows, follows no redirect, and rejects only after the socket is closed.
 */
import http, { type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { urlToHttpOptions } from 'node:url';
import { ResponseBody } from './body.ts';
import { decoderFor } from './decoding.ts';
import { FailureCause } from '../failures.ts';
import { onread, openShortWay } from './socket-reads.ts';
import { proxyFailed, proxyHeaders, TunnelAgent, type TunnelRequestOptions } from './tunnel.ts';

/** Idle sockets are kept for reuse in this number per host, and for this long. */
const idleSocketsMax = 256;
const idleSocketMs = 30_000;
/** What is read of an answer that is a refusal: more, or later, isn't worth the wait. */
const refusalBytesMax = 64 * 1024;
const refusalMs = 5_000;

const agentOptions = { keepAlive: true, maxFreeSockets: idleSocketsMax, timeout: idleSocketMs, noDelay: true, onread };

/** All of a request but its body, ready to be sent any number of times. */
export interface PreparedRequest {
  /** Whether what it is sent to, upstream or a proxy, is behind TLS. */
  readonly secure: boolean;
  /** Whether it is sent to a proxy. */
  readonly proxied: boolean;
  /** The proxy that makes a tunnel for it; undefined where it goes without. */
  readonly tunnel: URL | undefined;
  /** What is asked for, without the host and the query, which may hold secrets. */
  readonly path: string;
  readonly options: RequestOptions;
}

/** What upstream answered. Its body must be read to its end, or closed. */
export interface UpstreamResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: ResponseBody;
  /** The `content-encoding` of a body that can't be decoded; undefined where it can, or needn't be. */
  readonly unknownEncoding: string | undefined;
}

/**
 * @param headers All that go with it but those of the connection, the proxy and the body's encoding.
 * @throws TypeError for what is no URL of http or https
 */
export function prepareRequest(
  address: string,
  headers: Readonly<Record<string, string>>,
  proxy?: URL,
): PreparedRequest {
  const url = new URL(address);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new TypeError('expected a URL of http or https');
  const secure = url.protocol === 'https:';
  // A token that is compressed comes later, or together with others.
  const common = { method: 'POST', headers: { ...headers, 'accept-encoding': 'identity' }, timeout: 0 };
  const { pathname: path } = url;
  if (!proxy || secure) {
    const options = { ...urlToHttpOptions(url), ...common };
    return { secure, proxied: false, tunnel: proxy, path, options };
  }
  // Without TLS, a proxy is asked for the URL as it stands (RFC 9112, 3.2.2).
  const options = {
    ...urlToHttpOptions(proxy),
    auth: null,
    ...common,
    path: url.href,
    headers: { ...common.headers, host: url.host, ...proxyHeaders(proxy) },
  };
  return { secure: proxy.protocol === 'https:', proxied: true, tunnel: undefined, path, options };
}

interface Agents {
  readonly kept: http.Agent;
  /** Of these each request gets a socket of its own. */
  readonly fresh: http.Agent;
}

/** The sockets to all upstreams. Dispose it to close those that are idle; those in use close with their requests. */
export class UpstreamSockets implements Disposable {
  readonly #http = { kept: watchIdle(new http.Agent(agentOptions)), fresh: new http.Agent() };
  readonly #https = { kept: watchIdle(new https.Agent(agentOptions)), fresh: new https.Agent() };
  /** By proxy, of which the environment names two at most. */
  readonly #tunnels = new Map<string, Agents>();

  /**
   * Sends a request. Once the signal aborts it rejects, but not before the socket is closed.
   *
   * @param fresh Whether it must go out on a socket of its own.
   * @throws FailureCause `sent` says whether upstream can have got the request, `onKeptSocket` whether the socket had been
   *   idle: upstream may have closed it just as we took it up, or may have taken the request first. Nobody can tell.
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

/** The text of a refusal, or as much of it as came within the bounds. */
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

/** Closes a socket on which something comes while it is idle: it would be taken for the answer to the next request. */
function watchIdle(agent: http.Agent): http.Agent {
  return agent.on('free', (socket: Socket) => void socket.on('data', closeSpeaker));
}

function closeSpeaker(this: Socket): void {
  this.destroy();
}

/** Sends the request on a socket of the agent's. */
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
      // Made here and now, lest the message end before anyone listens.
      const responseBody = new ResponseBody(message, typeof decoder === 'string' ? undefined : decoder);
      if (!decoder) openShortWay(message, responseBody);
      const { statusCode: status = 0, headers } = message;
      resolve({ status, headers, body: responseBody, unknownEncoding });
    });
    // Comes after an error too, and not before the socket is closed. After a response it is too late to matter.
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

/** Its message names no address. */
function connectionFailed(
  code: string,
  facts: { readonly sent: boolean; readonly onKeptSocket: boolean },
): FailureCause {
  return new FailureCause('the exchange with upstream failed', { code, ...facts });
}
