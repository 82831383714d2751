/** Variables that the Anthropic SDK would read of the environment by itself, and that this service refuses or doesn't use. */
import type { Problem } from './problems.ts';
import type { Environment } from './variable.ts';

/** The SDK would find credentials by these variables where it has neither a key nor a token. */
const credentialVariables = [
  'ANTHROPIC_PROFILE',
  'ANTHROPIC_CONFIG_DIR',
  'ANTHROPIC_IDENTITY_TOKEN',
  'ANTHROPIC_IDENTITY_TOKEN_FILE',
  'ANTHROPIC_FEDERATION_RULE_ID',
  'ANTHROPIC_SERVICE_ACCOUNT_ID',
  'ANTHROPIC_ORGANIZATION_ID',
  'ANTHROPIC_WORKSPACE_ID',
  'ANTHROPIC_SCOPE',
];
/** The other variables that the SDK reads and this service doesn't, each with the reason or with what to use instead. */
const otherVariables: Readonly<Record<string, string>> = {
  ANTHROPIC_LOG: 'not used; set LOG_LEVEL for the level of the log',
  ANTHROPIC_OPEN_TELEMETRY: 'not used; the service switches the SDK’s spans off',
  ANTHROPIC_OPEN_TELEMETRY_PROPAGATION: 'not used; the service switches the SDK’s spans off',
  ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE: 'not used; the service switches the SDK’s spans off',
  ANTHROPIC_OPEN_TELEMETRY_TRACES_MAX_CONTENT_BYTES: 'not used; the service switches the SDK’s spans off',
};

/**
 * The problems with variables of the SDK that are set: `refused` stop the service, `unused` are logged.
 *
 * @param keyed Whether a key or a token is set. Then the SDK would not look for credentials elsewhere.
 */
export function findSdkVariables(
  env: Environment,
  keyed: boolean,
): {
  readonly refused: readonly Problem[];
  readonly unused: readonly Problem[];
} {
  const isSet = (name: string) => (env[name]?.trim() ?? '') !== '';
  const credentials = credentialVariables.filter(isSet);
  const problem = (message: string) => (path: string) => ({ path, message });
  return {
    refused: keyed
      ? []
      : credentials.map(
          problem('not supported; set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN in its place, or unset it'),
        ),
    unused: [
      ...(keyed ? credentials.map(problem('not used, since there is a key or a token')) : []),
      ...Object.keys(otherVariables)
        .filter(isSet)
        .map((path) => ({ path, message: otherVariables[path]! })),
      ...['ANTHROPIC_AUTH_TOKEN']
        .filter((name) => isSet(name) && isSet('ANTHROPIC_API_KEY'))
        .map(problem('not used, since ANTHROPIC_API_KEY is set too')),
    ],
  };
}
