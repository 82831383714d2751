/**
 * Loaded into each server under test, before its own code. On request it reports the memory after a garbage collection,
 * and where the server spends its time. Costs nothing before a request. Ends the server when the benchmark ends.
 */
import { Session, type Profiler } from 'node:inspector/promises';
import { serveCommands } from '../wire/rpc.ts';

export type ProbeCommands = {
  /** In bytes: of the process as the system counts them, and in use by JavaScript's objects and buffers. */
  memory(params: null): { readonly rss: number; readonly held: number };
  startProfile(params: null): Promise<void>;
  stopProfile(params: null): Promise<Profiler.Profile>;
};

const samplingUs = 200;
const session = new Session();

serveCommands({
  memory() {
    // Runs twice, because the second collection frees what the first one finalizes.
    globalThis.gc?.();
    globalThis.gc?.();
    const { rss, heapUsed, external } = process.memoryUsage();
    return { rss, held: heapUsed + external };
  },
  async startProfile() {
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: samplingUs });
    await session.post('Profiler.start');
  },
  async stopProfile() {
    const { profile } = await session.post('Profiler.stop');
    session.disconnect();
    return profile;
  },
} satisfies ProbeCommands);
// This must not keep the server alive.
process.channel?.unref();
