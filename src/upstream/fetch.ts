/**
 * A `fetch` over node:http, half the cost of the global one, for requests whose answer is streamed. Knows nothing of the
 * Messages API. It sends only headers that it knows, follows no redirect, and rejects only after the socket is closed.
 */
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { ResponseBody } from './body.ts';
import { UpstreamFault } from './failures.ts';

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
const keptHeaders = ['content-type', 'request-id', 'retry-after', 'retry-after-ms'];

const agentOptions = { keepAlive: true, maxFreeSockets: idleSocketsMax, timeout: idleSocketMs, noDelay: true };

/** The sockets to all upstreams. Dispose it to close those that are idle; those in use close with their requests. */
export class UpstreamSockets implements Disposable {
  readonly #bodies = new WeakMap<Response, ResponseBody>();
  readonly #http = new http.Agent(agentOptions);
  readonly #https = new https.Agent(agentOptions);
  readonly #freshHttp = new http.Agent();
  readonly #freshHttps = new https.Agent();

  /**
   * As the global `fetch`, for a POST with a string as body. The body of a 2xx answer is to be had by `bodyOf` alone, and
   * must be read to its end or closed.
   *
   * @throws UpstreamFault `sent` says whether upstream can have got the request
   */
  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const request: OutgoingRequest = {
      url: new URL(input instanceof Request ? input.url : input),
      method: init.method ?? 'GET',
      headers: Object.fromEntries([...new Headers(init.headers)].filter(([name]) => sentHeaders.test(name))),
      body: typeof init.body === 'string' ? init.body : '',
      signal: init.signal ?? undefined,
    };
    const secure = request.url.protocol === 'https:';
    let answer = await exchange(request, secure ? this.#https : this.#http);
    // Upstream closed an idle socket just as we took it up: the request was not looked at, so this is no second attempt.
    if (answer === 'stale') answer = await exchange(request, secure ? this.#freshHttps : this.#freshHttp);
    if (answer === 'stale') throw connectionFault('ECONNRESET', true);
    return this.#respond(answer, request.signal);
  };

  bodyOf(response: Response): ResponseBody {
    const body = this.#bodies.get(response);
    if (!body) throw new Error('not the answer to a request of these sockets');
    return body;
  }

  [Symbol.dispose](): void {
    for (const agent of [this.#http, this.#https, this.#freshHttp, this.#freshHttps]) agent.destroy();
  }

  async #respond({ status, headers, body }: Answer, signal: AbortSignal | undefined): Promise<Response> {
    if (status >= 200 && status < 300) {
      const response = new Response(null, { status, headers });
      this.#bodies.set(response, body);
      return response;
    }
    const text = await readRefusal(body, signal);
    // A `Response` can't hold every status that a server can send, nor a body with every status.
    if (status < 300 || status > 599) throw connectionFault('invalid_status', true);
    return new Response(status === 304 ? null : text, { status, headers });
  }
}

interface OutgoingRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly signal: AbortSignal | undefined;
}

interface Answer {
  readonly status: number;
  readonly headers: [string, string][];
  readonly body: ResponseBody;
}

/** Sends the request; `stale` if it went out on a reused socket that turned out to be closed. */
function exchange(outgoing: OutgoingRequest, agent: http.Agent): Promise<Answer | 'stale'> {
  const { url, method, headers, body, signal } = outgoing;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = (url.protocol === 'https:' ? https : http).request(url, { method, headers, agent, timeout: 0 });
    let error: NodeJS.ErrnoException | undefined;
    let sent = false;
    let bytesRead = () => 0;
    const startedAtMs = performance.now();
    const abort = () => void request.destroy();
    signal?.addEventListener('abort', abort, { once: true });
    request.on('socket', (socket) => {
      const before = socket.bytesRead;
      bytesRead = () => socket.bytesRead - before;
      if (!socket.connecting) sent = true;
      else socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => (sent = true));
    });
    request.on('error', (thrown) => (error = thrown));
    request.on('response', (message) => {
      signal?.removeEventListener('abort', abort);
      // Made here and now, lest the message end before anyone listens.
      resolve({ status: message.statusCode ?? 0, headers: keptOf(message), body: new ResponseBody(message) });
    });
    // Comes after an error too, and not before the socket is closed. After a response it is too late to matter.
    request.on('close', () => {
      signal?.removeEventListener('abort', abort);
      const reset = error?.code === 'ECONNRESET' || error?.code === 'EPIPE';
      const soon = performance.now() - startedAtMs < staleMs;
      const stale = reset && soon && request.reusedSocket && bytesRead() === 0;
      if (stale && signal?.aborted !== true) resolve('stale');
      else reject(connectionFault(error?.code ?? 'closed', sent));
    });
    request.end(body);
  });
}

function keptOf({ headers }: IncomingMessage): [string, string][] {
  return keptHeaders.flatMap((name): [string, string][] => {
    const value = headers[name];
    return typeof value === 'string' ? [[name, value]] : [];
  });
}

/** The text of a refusal, or as much of it as came within the bounds. */
async function readRefusal(body: ResponseBody, signal: AbortSignal | undefined): Promise<string> {
  const close = () => body.destroy();
  const timer = setTimeout(close, refusalMs);
  signal?.addEventListener('abort', close, { once: true });
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for (let read = await next(body); read && bytes < refusalBytesMax; read = await next(body)) {
      chunks.push(...read);
      for (const chunk of read) bytes += chunk.length;
    }
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', close);
    await body.close();
  }
  return Buffer.concat(chunks).toString('utf8', 0, refusalBytesMax);
}

async function next(body: ResponseBody): Promise<readonly Buffer[] | undefined> {
  await body.ready();
  return body.take();
}

/** Its message names no address, and no word of it means a timeout to the SDK, which looks for such words. */
function connectionFault(code: string, sent: boolean): UpstreamFault {
  return new UpstreamFault('the exchange with upstream failed', { code, sent });
}
