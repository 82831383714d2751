/** Explains why a process can't listen on an address, in words of the setting or option that names the address. */
import { UsageError } from './exit-codes.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
  /** The text before the port that a message suggests: `PORT=` for the setting, `--port ` for the option. */
  readonly portPrefix: string;
  /** The setting of the host. Default: `HOST`. */
  readonly hostName?: string;
}

/**
 * Waits for listeners that are being started, and returns them.
 *
 * @param others Addresses beside the first one, for what is started and has several listeners.
 * @throws Error for a port that is taken, UsageError for an address that this process can't have, and other errors of the start
 *   unchanged.
 */
export async function listening<Started>(
  started: Promise<Started>,
  address: Address,
  others: readonly Address[] = [],
): Promise<Started> {
  try {
    return await started;
  } catch (thrown) {
    const failed = thrown as ListenError;
    const meant = others.find(({ host, port }) =>
      failed.port === undefined ? (failed.hostname ?? failed.address) === host : failed.port === port,
    );
    throw inWords(failed, meant ?? address) ?? thrown;
  }
}

/** Node names the port that could not be had, unless it is 0, and the address, or the name that no name server knows. */
type ListenError = NodeJS.ErrnoException & {
  readonly port?: number;
  readonly address?: string;
  readonly hostname?: string;
};

function inWords(
  cause: NodeJS.ErrnoException,
  { host, port, portPrefix, hostName = 'HOST' }: Address,
): Error | undefined {
  const at = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const options = { cause };
  switch (cause.code) {
    case 'EADDRINUSE': {
      const other = `${portPrefix}${port < 65_535 ? port + 1 : port - 1}`;
      return new Error(
        `${at} is taken by another process; choose another port (${other}, or ${portPrefix}0 for any free one)`,
        options,
      );
    }
    case 'EACCES':
    case 'EPERM':
      return new UsageError(
        `this user may not listen on ${at}; ports from 1024 on need no rights (${portPrefix}3000)`,
        options,
      );
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return new UsageError(
        `${hostName}: this machine has no address ${host}; 127.0.0.1 listens for this machine alone, 0.0.0.0 on all its addresses`,
        options,
      );
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new UsageError(
        `${hostName}: expected a name or an address of this machine, found ${host}, which no name server knows`,
        options,
      );
    default:
      return undefined;
  }
}
