/** The service's ends of its connections, for tests that look at unsent bytes. */
import diagnostics from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

export interface ServerSockets extends Disposable {
  /** The open ones, in the order in which they were accepted. */
  readonly open: readonly Socket[];
}

/** From now on, records the sockets that a server of this process accepts on a port. */
export function watchServerSockets(url: string): ServerSockets {
  const port = Number(new URL(url).port);
  const sockets: Socket[] = [];
  const accept = (message: unknown) => {
    const { socket } = message as { readonly socket: Socket };
    if (socket.localPort === port) sockets.push(socket);
  };
  diagnostics.subscribe('net.server.socket', accept);
  return {
    get open() {
      return sockets.filter(({ destroyed }) => !destroyed);
    },
    [Symbol.dispose]: () => void diagnostics.unsubscribe('net.server.socket', accept),
  };
}
