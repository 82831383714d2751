/**
 * Loaded into each server that is measured, before its own code: tells its memory after a garbage collection, and where its
 * time goes, when it is asked to. Costs nothing until then, and ends the server with the benchmark.
 */
import { Session, type Profiler } from 'node:inspector/promises';
import { serveCommands } from '../wire/rpc.ts';

export type ProbeCommands = {
  /** Bytes: of the process as the system counts them, and in use by JavaScript's objects and buffers. */
  memory(params: null): { readonly rss: number; readonly held: number };
  startProfile(params: null): Promise<void>;
  stopProfile(params: null): Promise<Profiler.Profile>;
};

const samplingUs = 200;
const session = new Session();

serveCommands({
  memory() {
    // Twice: what the first one finalizes, the second one frees.
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
// The server decides how long it lives.
process.channel?.unref();
