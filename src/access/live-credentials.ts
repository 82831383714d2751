/** Opens whatever the settings name that can change while the service runs: the file of keys, and the keys of an issuer of tokens. */
import type { Settings } from '../settings/settings.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { Keys } from './keys.ts';
import type { LiveFile } from './live-file.ts';
import type { Tokens } from './tokens.ts';

export interface LiveCredentials extends AsyncDisposable {
  /** Undefined where no setting says who may ask. */
  readonly keys: Keys | undefined;
  /** Undefined where no tokens are taken. */
  readonly tokens: Tokens | undefined;
  /** Reads the files again. Never rejects: telemetry logs the outcomes. */
  reload(): Promise<void>;
}

export interface LiveCredentialsOptions {
  readonly settings: Settings;
  /** The folder that the paths of files are relative to. */
  readonly cwd: string;
  readonly telemetry: Telemetry;
  /** The configs that are served now, of which a key may name some. */
  readonly configNames: () => readonly string[];
}

/**
 * Reads the files and watches them; sets out to read the URL and does not wait for that. What no setting names isn't loaded.
 *
 * @throws SettingsError if a file can't be taken.
 */
export async function openCredentials(options: LiveCredentialsOptions): Promise<LiveCredentials> {
  const { apiKeys, apiKeysFile } = options.settings;
  const files: LiveFile[] = [];
  const keys = new Keys(apiKeys, { fixed: apiKeysFile === undefined });
  let issuer: Issuer | undefined;
  const close = async () => {
    issuer?.[Symbol.dispose]();
    await Promise.all(files.map((file) => file[Symbol.asyncDispose]()));
  };
  try {
    if (apiKeysFile !== undefined) files.push(await openKeyFile(apiKeysFile, keys, options));
    issuer = await openIssuer(options, files);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    keys: apiKeys.length > 0 || apiKeysFile !== undefined || issuer ? keys : undefined,
    tokens: issuer?.tokens,
    async reload() {
      await Promise.all(files.map((file) => file.reload()));
    },
    [Symbol.asyncDispose]: close,
  };
}

async function openKeyFile(file: string, keys: Keys, options: LiveCredentialsOptions): Promise<LiveFile> {
  const { cwd, telemetry, configNames } = options;
  const [{ openLiveFile }, { doubtsOfKeys, parseKeyFile }] = await Promise.all([
    import('./live-file.ts'),
    import('./key-file.ts'),
  ]);
  const take = (text: string) => {
    const taken = parseKeyFile(text);
    keys.replace(taken);
    telemetry.fileDoubted('keys', file, doubtsOfKeys(taken, configNames()));
  };
  return openLiveFile({ what: 'keys', variable: 'LLM_API_KEYS_FILE', file, cwd, telemetry, take });
}

interface Issuer extends Disposable {
  readonly tokens: Tokens;
}

/** @param files The file of the keys is added, where they are in one. */
async function openIssuer(options: LiveCredentialsOptions, files: LiveFile[]): Promise<Issuer | undefined> {
  const { settings, cwd, telemetry } = options;
  const { jwksUrl, jwksFile, jwtIssuer, jwtAudience, jwtCallerClaim: callerClaim } = settings;
  if (jwtIssuer === undefined || jwtAudience === undefined) return undefined;
  const [{ GivenKeySet, RemoteKeySet }, { Tokens: IssuedTokens }] = await Promise.all([
    import('./key-sets.ts'),
    import('./tokens.ts'),
  ]);
  const facts = { issuer: jwtIssuer, audience: jwtAudience, callerClaim };
  if (jwksUrl !== undefined) {
    const keySet = new RemoteKeySet({ url: jwksUrl, telemetry });
    void keySet.read();
    return { tokens: new IssuedTokens({ ...facts, keySet }), [Symbol.dispose]: () => keySet[Symbol.dispose]() };
  }
  const { openLiveFile } = await import('./live-file.ts');
  const keySet = new GivenKeySet();
  const take = (text: string) => keySet.take(text);
  files.push(
    await openLiveFile({ what: 'issuer’s keys', variable: 'LLM_JWKS_FILE', file: jwksFile!, cwd, telemetry, take }),
  );
  return { tokens: new IssuedTokens({ ...facts, keySet }), [Symbol.dispose]() {} };
}
