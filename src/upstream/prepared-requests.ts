/**
 * The requests to each upstream, all but their bodies: made once for each combination of URL, headers and proxy, and
 * kept. Knows nothing of the SDK, whose headers it asks for through a function.
 */
import { messagesUrl } from './address/base-url.ts';
import { betaHeader, joinedBetas, type ApiKeyHeader, type Headers } from './address/headers.ts';
import { proxyFor } from './address/proxies.ts';
import type { UpstreamAddress } from './address/upstream-address.ts';
import { prepareRequest, type PreparedRequest } from './http/sockets.ts';

/** How many prepared requests are kept; the oldest is dropped for the next one. */
export const preparedRequestsMax = 100;

export class PreparedRequests {
  readonly #sdkHeadersFor: (url: string) => Promise<Headers>;
  readonly #prepared = new Map<string, Promise<PreparedRequest>>();

  /**
   * @param sdkHeadersFor Resolves to the headers that the SDK would send to this URL. Called once for each request
   *   kept.
   */
  constructor(sdkHeadersFor: (url: string) => Promise<Headers>) {
    this.#sdkHeadersFor = sdkHeadersFor;
  }

  /**
   * The request to this address. It is the same each time, and building it takes the SDK longer than everything else
   * that the service does for one request, so it is kept.
   *
   * @param parameterHeaders Headers that follow from the config's parameters.
   */
  async for(address: UpstreamAddress, parameterHeaders: Headers): Promise<PreparedRequest> {
    const { messagesPath, apiKey, apiKeyHeader, proxies } = address;
    const url = messagesUrl(await address.baseUrl, messagesPath);
    const proxy = proxies && proxyFor(new URL(url), proxies);
    const headers = {
      ...parameterHeaders,
      ...keyHeader(apiKey, apiKeyHeader),
      ...address.headers,
      ...betasOf([parameterHeaders, address.headers]),
    };
    const key = JSON.stringify([url, headers, proxy?.href]);
    return this.#prepared.get(key) ?? this.#prepare(key, url, headers, proxy);
  }

  #prepare(key: string, url: string, headers: Headers, proxy: URL | undefined): Promise<PreparedRequest> {
    const prepared = this.#sdkHeadersFor(url).then((sdkHeaders) =>
      prepareRequest(url, { ...sdkHeaders, ...headers }, proxy),
    );
    const oldest = this.#prepared.keys().next();
    if (this.#prepared.size >= preparedRequestsMax && !oldest.done) this.#prepared.delete(oldest.value);
    this.#prepared.set(key, prepared);
    prepared.catch(() => this.#prepared.delete(key));
    return prepared;
  }
}

function keyHeader(apiKey: string | undefined, name: ApiKeyHeader = 'authorization'): Headers {
  if (apiKey === undefined) return {};
  return { [name]: name === 'authorization' ? `Bearer ${apiKey}` : apiKey };
}

/** The betas that the config's keys need, and those that the operator names in a header. */
function betasOf(headers: readonly (Headers | undefined)[]): Headers {
  const named = headers.flatMap((each) => each?.[betaHeader] ?? []);
  return named.length === 0 ? {} : { [betaHeader]: joinedBetas(named) };
}
