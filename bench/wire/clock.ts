/** Time and CPU time, measured alike in all processes of a benchmark. */
import { readFileSync } from 'node:fs';

/** Milliseconds on the machine's monotonic clock. Unlike `performance.now()`, it can be compared between processes. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** On all architectures, Linux counts the CPU time in /proc in hundredths of a second. */
const msPerTick = 10;

/** The CPU time of a process so far: user and system, all threads, including those that have ended. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The name of the command is in parentheses and may contain anything, so count the fields after it. proc(5): utime
  // 14, stime 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * msPerTick;
}

/** The CPU time of all processes on all cores so far, without interrupts. */
export function machineCpuMs(): number {
  // proc(5), first line: cpu, user, nice, system, and then time that belongs to no process.
  const [, user, nice, system] = readFileSync('/proc/stat', 'latin1').split(/ +/, 4);
  return (Number(user) + Number(nice) + Number(system)) * msPerTick;
}
