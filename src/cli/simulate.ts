/** `simulate`: runs the simulator of the Messages API alone, for any client of that API. */
import { startSimulator, type SimulatorOptions } from '../simulator.ts';
import type { Host } from './host.ts';
import { listening } from './listen.ts';
import { aborted, Interrupt } from './interrupt.ts';

export async function simulate(host: Host, options: SimulatorOptions): Promise<void> {
  using interrupt = new Interrupt(host);
  const { port = 0 } = options;
  const address = { host: '127.0.0.1', port, portPrefix: '--port ' };
  await using simulator = await listening(startSimulator(options), address);
  await host.stdout.write(`${simulator.url}\n`);
  await aborted(interrupt.signal);
}
