/** An issuer of tokens under the control of a test: it signs whatever claims a test wants, and publishes keys by a URL of its own. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type JWK } from 'jose';

export interface Issuer extends AsyncDisposable {
  /** Where it publishes its keys. */
  readonly url: string;
  /** How often they were asked for. */
  readonly reads: number;
  /** The environment of a service that takes its tokens. */
  readonly env: Readonly<Record<string, string>>;
  /** What it publishes now: by default the keys of all signers. */
  keys: readonly JWK[];
  /** Replaces how the next requests are answered. */
  answer: ((response: ServerResponse) => void) | undefined;
  /** Makes another pair of keys, and publishes it. */
  addSigner(kid: string, alg?: string): Promise<Signer>;
}

/** Claims of a token by name. */
export type Claims = Readonly<Record<string, unknown>>;

export interface Signer {
  /** The public key as text, as an attacker has it. */
  readonly spki: string;
  readonly jwk: JWK;
  /**
   * A token that is good for ten minutes, but for the claims that are given; an undefined one is left out.
   *
   * @param kid The name of the key that the token names; null for none.
   */
  token(claims?: Claims, kid?: string | null): Promise<string>;
}

export const issuerName = 'https://issuer.example';
export const audience = 'llm-service';

export async function startIssuer(): Promise<Issuer> {
  let reads = 0;
  const server = createServer((_request, response) => {
    reads += 1;
    if (issuer.answer) return issuer.answer(response);
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: issuer.keys }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
  const issuer: Issuer = {
    url,
    env: { LLM_JWKS_URL: url, LLM_JWT_ISSUER: issuerName, LLM_JWT_AUDIENCE: audience },
    keys: [],
    answer: undefined,
    get reads() {
      return reads;
    },
    async addSigner(kid, alg = 'ES256') {
      const signer = await createSigner(kid, alg);
      issuer.keys = [...issuer.keys, signer.jwk];
      return signer;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return issuer;
}

export async function createSigner(kid: string, alg = 'ES256'): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  return {
    spki: await exportSPKI(publicKey),
    jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' },
    token: (claims = {}, named = kid) =>
      signed(claims, (jwt) =>
        jwt.setProtectedHeader({ alg, ...(named === null ? {} : { kid: named }) }).sign(privateKey),
      ),
  };
}

/** A token with these claims, beside those that make one good, signed by the function. */
export function signed(claims: Claims, sign: (jwt: SignJWT) => Promise<string>): Promise<string> {
  const nowS = Math.floor(Date.now() / 1_000);
  const all = { iss: issuerName, aud: audience, sub: 'alice', iat: nowS, exp: nowS + 600, ...claims };
  return sign(new SignJWT(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))));
}
