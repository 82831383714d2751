/**
 * Whether the limits fit the heap of a process: sums up the most memory that all callers together can make it hold. Pure. The
 * costs of each thing were measured (docs/sizing.md).
 */
import type { Problem } from './problems.ts';
import { limits as table, type Limits } from './limits.ts';

const KiB = 1_024;
const MiB = 1_024 * KiB;

/** Code, configs, the page, V8's own memory, and log lines that are not written yet. */
const processBytes = 80 * MiB;
/** The part of a heap that is left free, for garbage that is not collected yet and for one response that is being put together. */
const marginShare = 0.2;
/** A running generation with its upstream socket, without its request and its log. */
const generationBytes = 40 * KiB;
/** A viewer with its connection, without the bytes that wait in it. */
const viewerBytes = 16 * KiB;
/** An open WebSocket without traffic. */
const socketBytes = 8 * KiB;
/** A spent or barred id. */
const idBytes = 40;

/** A part of the memory, and the limits that bound it. */
export interface Share {
  readonly limits: readonly (keyof Limits)[];
  readonly bytes: number;
}

/** All parts, the largest first. */
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

/** The size of the heap that the limits need, in bytes, with the margin. */
export function heapBytesFor(limits: Limits): number {
  const bytes = sharesOf(limits).reduce((sum, share) => sum + share.bytes, processBytes);
  return Math.ceil(bytes / (1 - marginShare));
}

/** The problem where the limits don't fit a heap: how much they need, which limits need the most, and what to do. */
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
