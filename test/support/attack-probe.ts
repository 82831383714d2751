/**
 * A process beside a service under attack, run by attack-target.ts. It asks for the service's health without a pause,
 * and reads the service's memory from outside. So neither the load of the attackers nor a service that doesn't answer
 * distorts the result. On a system without /proc, it can't read the memory.
 */
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import type { Health } from './attack-target.ts';

const [url = '', pid = ''] = process.argv.slice(2);
const pauseMs = 20;
const none: Health = { answered: 0, failed: 0, slowestMs: 0, peakBytes: 0 };
let health = none;
let askedAtMs = performance.now();

process.on('message', () => {
  process.send!(seen());
  health = none;
});
process.on('disconnect', () => process.exit());
process.send!(null);
// Also while the probe waits for an answer that may never arrive.
setInterval(() => (health = seen()), pauseMs);
for (;;) await probe();

function seen(): Health {
  return {
    ...health,
    slowestMs: Math.max(health.slowestMs, performance.now() - askedAtMs),
    peakBytes: Math.max(health.peakBytes, peakBytes()),
  };
}

async function probe(): Promise<void> {
  askedAtMs = performance.now();
  const answered = await ask();
  health = { ...seen(), answered: health.answered + Number(answered), failed: health.failed + Number(!answered) };
  await new Promise((resolve) => setTimeout(resolve, pauseMs));
}

/** On a connection of its own, as a load balancer asks. */
function ask(): Promise<boolean> {
  return new Promise((resolve) => {
    const request = httpRequest(`${url}/healthz`, { agent: false }, (response) => {
      response.resume();
      response.on('close', () => resolve(response.statusCode === 200));
    });
    request.on('error', () => resolve(false));
    request.end();
  });
}

/** The peak memory of the process since it began. */
function peakBytes(): number {
  try {
    return 1_024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
