/** Variables that the Anthropic SDK would read of the environment by itself, and that this service refuses or doesn't use. */
import type { Problem } from './problems.ts';
import type { Environment } from './variable.ts';

/** By these the SDK would find credentials on its own, where it has neither a key nor a token. */
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
/** What else the SDK reads and this service has no use for, with what to use instead. */
const otherVariables: Readonly<Record<string, string>> = {
  ANTHROPIC_LOG: 'not used; LOG_LEVEL says what is logged',
  ANTHROPIC_OPEN_TELEMETRY: 'not used; the service makes no spans of the SDK’s',
  ANTHROPIC_OPEN_TELEMETRY_PROPAGATION: 'not used; the service makes no spans of the SDK’s',
  ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE: 'not used; the service makes no spans of the SDK’s',
  ANTHROPIC_OPEN_TELEMETRY_TRACES_MAX_CONTENT_BYTES: 'not used; the service makes no spans of the SDK’s',
};

/** What the SDK would read of the environment by itself, and this service does not. */
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
        .map(problem('not used, since ANTHROPIC_API_KEY goes first')),
    ],
  };
}
