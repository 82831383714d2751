/**
 * Requests over node:http whose answer is streamed, on sockets that are kept. Knows nothing of the Messages API. It sends
 * only headers that it knows, follows no redirect, and rejects only after the socket is closed.
 */
import http, { type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import https from 'node:https';
import { urlToHttpOptions } from 'node:url';
import { ResponseBody } from './body.ts';
import { UpstreamFault } from './failures.ts';
import { onread, openShortWay } from './socket-reads.ts';

/** Idle sockets are kept for reuse in this number per host, and for this long. */
const idleSocketsMax = 256;
const idleSocketMs = 30_000;
/** What is read of an answer that is a refusal: more, or later, isn't worth the wait. */
const refusalBytesMax = 64 * 1024;
const refusalMs = 5_000;
/** A socket that upstream closed while it was idle shows it this soon; a later close can be that of a request at work. */
const staleMs = 1_000;

/** The SDK adds headers from the environment and from files of the user's; what isn't listed here is not sent. */
const sentHeaders =
  /^(?:accept|authorization|content-type|anthropic-version|anthropic-beta|user-agent|x-stainless-[a-z-]+)$/;

const agentOptions = { keepAlive: true, maxFreeSockets: idleSocketsMax, timeout: idleSocketMs, noDelay: true, onread };

/** All of a request but its body, ready to be sent any number of times. */
export interface PreparedRequest {
  readonly secure: boolean;
  readonly options: RequestOptions;
}

/** What upstream answered. Its body must be read to its end, or closed. */
export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: ResponseBody;
}

/** @throws TypeError for what is no URL of http or https */
export function prepareRequest(address: string, headers: Iterable<readonly [string, string]>): PreparedRequest {
  const url = new URL(address);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new TypeError('expected a URL of http or https');
  const sent = [...headers].filter(([name]) => sentHeaders.test(name));
  const options = { ...urlToHttpOptions(url), method: 'POST', headers: Object.fromEntries(sent), timeout: 0 };
  return { secure: url.protocol === 'https:', options };
}

/** The sockets to all upstreams. Dispose it to close those that are idle; those in use close with their requests. */
export class UpstreamSockets implements Disposable {
  readonly #http = new http.Agent(agentOptions);
  readonly #https = new https.Agent(agentOptions);
  readonly #freshHttp = new http.Agent();
  readonly #freshHttps = new https.Agent();

  /**
   * Sends a request. Once the signal aborts it rejects, but not before the socket is closed.
   *
   * @throws UpstreamFault `sent` says whether upstream can have got the request
   */
  async send({ secure, options }: PreparedRequest, body: string, signal: AbortSignal): Promise<UpstreamAnswer> {
    const answer = await exchange({ ...options, agent: secure ? this.#https : this.#http }, body, signal);
    if (answer !== 'stale') return answer;
    // Upstream closed an idle socket just as we took it up: the request was not looked at, so this is no second attempt.
    const fresh = await exchange({ ...options, agent: secure ? this.#freshHttps : this.#freshHttp }, body, signal);
    if (fresh === 'stale') throw connectionFault('ECONNRESET', true);
    return fresh;
  }

  [Symbol.dispose](): void {
    for (const agent of [this.#http, this.#https, this.#freshHttp, this.#freshHttps]) agent.destroy();
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

/** Sends the request; `stale` if it went out on a reused socket that turned out to be closed. */
function exchange(options: RequestOptions, body: string, signal: AbortSignal): Promise<UpstreamAnswer | 'stale'> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const secure = options.protocol === 'https:';
    const request = (secure ? https : http).request(options);
    let error: NodeJS.ErrnoException | undefined;
    let answered = false;
    let sent = false;
    let bytesRead = () => 0;
    const startedAtMs = performance.now();
    const abort = () => void request.destroy();
    signal.addEventListener('abort', abort);
    request.on('socket', (socket) => {
      const before = socket.bytesRead;
      bytesRead = () => socket.bytesRead - before;
      if (!socket.connecting) sent = true;
      else socket.once(secure ? 'secureConnect' : 'connect', () => (sent = true));
    });
    request.on('error', (thrown) => (error = thrown));
    request.on('response', (message) => {
      answered = true;
      signal.removeEventListener('abort', abort);
      // Made here and now, lest the message end before anyone listens.
      const responseBody = new ResponseBody(message);
      openShortWay(message, responseBody);
      resolve({ status: message.statusCode ?? 0, headers: message.headers, body: responseBody });
    });
    // Comes after an error too, and not before the socket is closed. After a response it is too late to matter.
    request.on('close', () => {
      if (answered) return;
      signal.removeEventListener('abort', abort);
      const reset = error?.code === 'ECONNRESET' || error?.code === 'EPIPE';
      const soon = performance.now() - startedAtMs < staleMs;
      const stale = reset && soon && request.reusedSocket && bytesRead() === 0;
      if (stale && !signal.aborted) resolve('stale');
      else reject(connectionFault(error?.code ?? 'closed', sent));
    });
    request.end(body);
  });
}

/** Its message names no address. */
function connectionFault(code: string, sent: boolean): UpstreamFault {
  return new UpstreamFault('the exchange with upstream failed', { code, sent });
}
