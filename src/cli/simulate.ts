/** `simulate`: the simulator of the Messages API alone, for any client of that API. */
import { startSimulator, type SimulatorOptions } from '../simulator.ts';
import type { Host } from './host.ts';
import { aborted, Interrupt } from './interrupt.ts';

export async function simulate(host: Host, options: SimulatorOptions): Promise<void> {
  using interrupt = new Interrupt(host);
  await using simulator = await startSimulator(options);
  await host.stdout.write(`${simulator.url}\n`);
  await aborted(interrupt.signal);
}
