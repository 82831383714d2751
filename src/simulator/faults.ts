/** The faults as a test and a command see them: their names, their descriptions, and the function that plays one. */
import { faultTable, type Fault, type FaultName } from './fault-table.ts';
import type { Deltas, Stage } from './streaming.ts';

/** A fault in place of a good response. */
export interface FaultReply {
  /** The kind of reply. */
  readonly kind: 'fault';
  /** The fault's name. */
  readonly fault: FaultName;
  /** The fault's argument, where its description names one, ARG. The description has its unit and its default. */
  readonly arg?: number | undefined;
  /** The text that is sent, all of it, before or around the fault. By default a sentence that describes the fault. */
  readonly text?: Deltas | undefined;
}

/** A fault in a list. */
export interface FaultDescription {
  /** The fault's name. */
  readonly name: FaultName;
  /** What the fault does, in one line. Where it has an argument, the description calls that ARG. */
  readonly description: string;
}

/** Every fault, in the order in which help lists them. */
export const faults: readonly FaultDescription[] = Object.entries(faultTable).map(([name, { description }]) => ({
  name: name as FaultName,
  description,
}));

/** Whether there is a fault of this name. */
export function isFaultName(name: string): name is FaultName {
  return Object.hasOwn(faultTable, name);
}

/** Plays a fault. Settles when the simulator has nothing more to send. */
export async function playFault(stage: Stage, { fault, arg, text }: FaultReply): Promise<void> {
  const entry: Fault = faultTable[fault];
  await entry.play(stage, text ?? `This is the fault \`${fault}\` of the simulator: ${entry.description}.`, arg);
}
