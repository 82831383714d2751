/** Why an address can't be listened on, in the words of whoever chose it. */
import { UsageError } from './exit-codes.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
  /** How the port is chosen: `PORT=` for a setting, `--port ` for an option. */
  readonly portPrefix: string;
}

/**
 * What is started.
 *
 * @throws Error for a port that is taken, UsageError for an address that can't be had; whatever else the start throws.
 */
export async function listening<Started>(started: Promise<Started>, address: Address): Promise<Started> {
  try {
    return await started;
  } catch (thrown) {
    throw inWords(thrown as NodeJS.ErrnoException, address) ?? thrown;
  }
}

function inWords(cause: NodeJS.ErrnoException, { host, port, portPrefix }: Address): Error | undefined {
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
        `HOST: this machine has no address ${host}; 127.0.0.1 is for itself alone, 0.0.0.0 for all its addresses`,
        options,
      );
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new UsageError(
        `HOST: expected a name or an address of this machine, found ${host}, which can't be looked up`,
        options,
      );
    default:
      return undefined;
  }
}
