/**
 * Whether the limits fit the heap of a process: the most that all callers together can have it hold, summed. Pure; what a thing
 * costs was measured (docs/sizing.md).
 */
import type { Problem } from './problems.ts';
import { limits as table, type Limits } from './limits.ts';

const KiB = 1_024;
const MiB = 1_024 * KiB;

/** Code, configs, the page, what V8 has for itself, and log lines on their way. */
const processBytes = 80 * MiB;
/** The part of a heap that is left free: garbage that is not collected yet, and one answer of many pieces at work. */
const marginShare = 0.2;
/** A generation that runs, with its upstream socket, beside its request and its log. */
const generationBytes = 40 * KiB;
/** A viewer with its connection, beside what waits in it. */
const viewerBytes = 16 * KiB;
/** A WebSocket that is open and says nothing. */
const socketBytes = 8 * KiB;
/** An id that is spent or barred. */
const idBytes = 40;

/** What takes memory, and by which limits. */
export interface Share {
  readonly limits: readonly (keyof Limits)[];
  readonly bytes: number;
}

/** The largest first. */
export function sharesOf(limits: Limits): readonly Share[] {
  const perViewer = viewerBytes + limits.socketBufferBytesMax + limits.viewerBatchBytesMax;
  const shares: readonly Share[] = [
    { limits: ['logsBytesMax'], bytes: limits.logsBytesMax },
    { limits: ['heldBytesMax'], bytes: limits.heldBytesMax },
    { limits: ['generationsMax'], bytes: limits.generationsMax * generationBytes },
    { limits: ['viewersMax', 'socketBufferBytesMax', 'viewerBatchBytesMax'], bytes: limits.viewersMax * perViewer },
    {
      limits: ['socketsMax', 'unprovenSocketsMax'],
      bytes: (limits.socketsMax + limits.unprovenSocketsMax) * socketBytes,
    },
    { limits: ['tombstonesMax', 'barsMax'], bytes: (limits.tombstonesMax + limits.barsMax) * idBytes },
  ];
  return shares.toSorted((one, other) => other.bytes - one.bytes);
}

/** The heap that the limits need, with its margin. */
export function heapBytesFor(limits: Limits): number {
  const bytes = sharesOf(limits).reduce((sum, share) => sum + share.bytes, processBytes);
  return Math.ceil(bytes / (1 - marginShare));
}

/** What is wrong where the limits don't fit a heap: how much they need, what needs the most, and what to do. */
export function sizingProblem(limits: Limits, heapBytes: number): Problem | undefined {
  const needed = heapBytesFor(limits);
  if (needed <= heapBytes) return undefined;
  const largest = sharesOf(limits).slice(0, 3);
  const named = largest.flatMap((share) => share.limits.map((key) => table[key].name));
  return {
    path: 'limits',
    message: `callers can have the service hold more than fits: the limits need a heap of ${inMiB(needed)} MiB, this one is ${inMiB(heapBytes)}; lower ${named.join(', ')}, or start node with --max-old-space-size=${inMiB(needed)}`,
  };
}

function inMiB(bytes: number): number {
  return Math.ceil(bytes / MiB);
}
