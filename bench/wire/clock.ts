/** Time and CPU time as all processes of a benchmark see them. */
import { readFileSync } from 'node:fs';

/** Milliseconds on the machine's monotonic clock: comparable between processes, as `performance.now()` is not. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Linux counts CPU time for /proc in hundredths of a second, on all its architectures. */
const msPerTick = 10;

/** CPU time of a process so far, user and system, all its threads, those that have ended too. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The command's name, in parentheses, may hold anything: count fields from behind it. proc(5): utime 14, stime 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * msPerTick;
}

/** CPU time that processes have had so far on all cores, whoever they were; not that of interrupts. */
export function machineCpuMs(): number {
  // proc(5), first line: cpu, user, nice, system, and what isn't a process's.
  const [, user, nice, system] = readFileSync('/proc/stat', 'latin1').split(/ +/, 4);
  return (Number(user) + Number(nice) + Number(system)) * msPerTick;
}
