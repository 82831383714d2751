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

/** A request that was prepared, and all that it was made of beside the headers of the config's parameters. */
interface Latest {
  readonly address: UpstreamAddress;
  readonly baseUrl: string;
  readonly prepared: Promise<PreparedRequest>;
}

export class PreparedRequests {
  readonly #sdkHeadersFor: (url: string) => Promise<Headers>;
  readonly #prepared = new Map<string, Promise<PreparedRequest>>();
  /** The latest request of each config, by its parameters' headers, which are one object for each config. */
  readonly #latest = new WeakMap<Headers, Latest>();

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
    const baseUrl = await address.baseUrl;
    const latest = this.#latest.get(parameterHeaders);
    // To compare the few parts of an address costs a tenth of putting the URL and the headers together.
    if (latest && latest.baseUrl === baseUrl && sameRequest(latest.address, address)) return latest.prepared;
    const prepared = this.#preparedFor(address, baseUrl, parameterHeaders);
    this.#latest.set(parameterHeaders, { address, baseUrl, prepared });
    // The next request tries again.
    prepared.catch(() => this.#latest.delete(parameterHeaders));
    return prepared;
  }

  #preparedFor(address: UpstreamAddress, baseUrl: string, parameterHeaders: Headers): Promise<PreparedRequest> {
    const { messagesPath, apiKey, apiKeyHeader, proxies } = address;
    const url = messagesUrl(baseUrl, messagesPath);
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

/** Whether two addresses, whose base URLs are the same, have requests sent alike. */
function sameRequest(one: UpstreamAddress, other: UpstreamAddress): boolean {
  return (
    one.messagesPath === other.messagesPath &&
    one.apiKey === other.apiKey &&
    one.apiKeyHeader === other.apiKeyHeader &&
    sameFields(one.headers, other.headers) &&
    sameFields(one.proxies, other.proxies)
  );
}

function sameFields(one: object = {}, other: object = {}): boolean {
  const [ours, theirs] = [one, other] as Record<string, unknown>[];
  for (const name in ours) if (ours[name] !== theirs![name]) return false;
  for (const name in theirs) if (!(name in ours!)) return false;
  return true;
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
