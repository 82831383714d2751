/** Reads the table of faults in PROTOCOL.md, as the author of a client would. */
import { readFileSync } from 'node:fs';
import type { FaultName } from '../../src/simulator.ts';

interface FaultRow {
  readonly fault: FaultName;
  readonly event: string;
  /** This field and the next are undefined if the event is no error. */
  readonly code: string | undefined;
  readonly retryable: boolean | undefined;
  readonly requests: number;
  readonly estimated: boolean;
}

const row = /^\| `(\w+)` \|[^|]+\| (\w+) \| (?:`(\w+)`|–) \| (?:(yes|no)|–) \| (\d) \| (exact|estimated) \|$/gm;

export function readFaultTable(): readonly FaultRow[] {
  const protocol = readFileSync(new URL('../../PROTOCOL.md', import.meta.url), 'utf8');
  return [...protocol.matchAll(row)].map(([, fault, event, code, retry, requests, usage]) => ({
    fault: fault as FaultName,
    event: event!,
    code,
    retryable: retry === undefined ? undefined : retry === 'yes',
    requests: Number(requests),
    estimated: usage === 'estimated',
  }));
}
