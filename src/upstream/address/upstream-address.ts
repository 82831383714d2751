/** Where a config's requests are sent, and which key, headers and proxies they are sent with. */
import type { ApiKeyHeader, Headers } from './headers.ts';
import type { Proxies } from './proxies.ts';

export interface UpstreamAddress {
  /**
   * A URL that `isBaseUrl` accepts, such as `https://api.anthropic.com`. A promise while the server is still starting.
   */
  readonly baseUrl: string | Promise<string>;
  /** `/v1/messages` by default. */
  readonly messagesPath?: string | undefined;
  /** A secret. Without it, requests carry no credential. */
  readonly apiKey?: string | undefined;
  /** The header that carries the key. By default `authorization`, which carries it as a bearer token. */
  readonly apiKeyHeader?: ApiKeyHeader | undefined;
  /** Sent with each request; they replace headers of the same name that the service would send. Values are secrets. */
  readonly headers?: Headers;
  /**
   * The values of environment variables that the config names for the body of a request. By default there are none, so
   * that the simulator gets no secret.
   */
  readonly secret?: (variable: string) => string | undefined;
  /** By default, requests go there directly. */
  readonly proxies?: Proxies;
  /** Whether the built-in simulator answers there. */
  readonly simulated: boolean;
}
