/**
 * Callers by the tokens (JWTs) of an issuer: verified by `jose`, with keys of a key set. Verifying takes a while, and judging a
 * token that was verified does not: a door waits for `verify` once, and everything behind it judges at once.
 */
import { errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose';
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import type { KeySet } from './key-sets.ts';

export interface TokensOptions {
  readonly keySet: KeySet;
  /** The `iss` of every token. */
  readonly issuer: string;
  /** One that the `aud` of every token names. */
  readonly audience: string;
  /** The claim that names the caller. */
  readonly callerClaim: string;
}

/** Asymmetric ones alone. With HS256, whoever knows the public key could make tokens; `none` needs no key at all. */
const algorithms = 'ES256 ES384 ES512 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512'.split(' ');
/** By how much the clocks of issuer and service may differ. */
const skewS = 30;
const nameCharsMax = 255;
/** A token may name no key. Then so many keys of the set are tried that fit its algorithm. */
const keysTriedMax = 8;

/** What was found out about a token. */
type Verdict =
  | { readonly token: string; readonly version: number; readonly caller: Caller; readonly expiresAtMs: number }
  | { readonly token: string; readonly refusal: LlmError };

export class Tokens {
  readonly #keySet: KeySet;
  readonly #callerClaim: string;
  readonly #rules: JWTVerifyOptions;
  /** By the object that holds the token: the head of a request, or the params of a socket. It lives as long as they do. */
  readonly #verdicts = new WeakMap<object, Verdict>();

  constructor({ keySet, issuer, audience, callerClaim }: TokensOptions) {
    this.#keySet = keySet;
    this.#callerClaim = callerClaim;
    this.#rules = { algorithms, issuer, audience, clockTolerance: skewS, requiredClaims: ['exp'] };
  }

  /**
   * Settles when `judge` can judge the token; undefined where it can now. Never rejects.
   *
   * @param holder The object that the token was found in.
   */
  verify(token: string, holder: object): Promise<void> | undefined {
    const known = this.#verdicts.get(holder);
    if (known?.token === token && 'caller' in known && known.version === this.#keySet.version) return undefined;
    return this.#verify(token, holder);
  }

  /** @throws LlmError `unauthorized`; `at_capacity` where the keys of the issuer could not be read. */
  judge(token: string, holder: object): Caller {
    const verdict = this.#verdicts.get(holder);
    if (verdict?.token !== token) throw unreadable();
    if ('refusal' in verdict) throw verdict.refusal;
    if (Date.now() >= verdict.expiresAtMs) throw expired();
    return verdict.caller;
  }

  async #verify(token: string, holder: object): Promise<void> {
    try {
      // Taken before: the keys may be replaced meanwhile.
      const { version } = this.#keySet;
      const payload = await this.#payloadOf(token);
      const caller = { name: this.#nameIn(payload) };
      this.#verdicts.set(holder, { token, version, caller, expiresAtMs: (payload.exp! + skewS) * 1_000 });
    } catch (error) {
      this.#verdicts.set(holder, { token, refusal: refusalOf(error) });
    }
  }

  /** Rejects as jose does. */
  async #payloadOf(token: string): Promise<JWTPayload> {
    try {
      return (await jwtVerify(token, this.#keySet.find, this.#rules)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      let tried = 0;
      for await (const key of error) {
        if ((tried += 1) > keysTriedMax) break;
        try {
          return (await jwtVerify(token, key, this.#rules)).payload;
        } catch (wrong) {
          if (!(wrong instanceof errors.JWSSignatureVerificationFailed)) throw wrong;
        }
      }
      throw new errors.JWSSignatureVerificationFailed();
    }
  }

  #nameIn(payload: JWTPayload): string {
    const name = payload[this.#callerClaim];
    if (typeof name === 'string' && name !== '' && name.length <= nameCharsMax) return name;
    throw new LlmError('unauthorized', `This token names no caller: expected text in its claim "${this.#callerClaim}"`);
  }
}

function refusalOf(error: unknown): LlmError {
  if (error instanceof LlmError) return error;
  if (error instanceof errors.JWTExpired) return expired();
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'nbf') return refusal('This token is not valid yet');
    if (error.claim === 'exp') return refusal('This token never expires, which is not allowed here');
    if (error.claim === 'iss') return refusal('This token is from another issuer');
    if (error.claim === 'aud') return refusal('This token is for another audience');
  }
  if (error instanceof errors.JOSEAlgNotAllowed)
    return refusal('This token is signed in a way that is not allowed here');
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWSSignatureVerificationFailed) {
    return refusal('This token is not signed by a key of its issuer');
  }
  return unreadable();
}

function expired(): LlmError {
  return refusal('This token has expired');
}

function unreadable(): LlmError {
  return refusal('This token can’t be read');
}

function refusal(message: string): LlmError {
  return new LlmError('unauthorized', message);
}
