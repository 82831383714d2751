/** How long pages were blocked: the longest task on the main thread of each page while something ran. */
import type { Page } from 'playwright-core';

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** CPU time, in microseconds. */
  readonly tdur?: number;
}

/** In milliseconds of CPU time, so that other work on the machine doesn't count; in the order of the pages. */
export async function longestTasks(pages: readonly Page[], act: () => Promise<void>): Promise<number[]> {
  const browser = pages[0]!.context().browser()!;
  await browser.startTracing(undefined, { categories: ['toplevel', 'blink.user_timing'] });
  // Finds which process belongs to which page.
  for (const [at, page] of pages.entries()) await page.evaluate(`performance.mark('page ${at}')`);
  await act();
  const { traceEvents } = JSON.parse(String(await browser.stopTracing())) as { traceEvents: TraceEvent[] };
  return pages.map((_, at) => {
    const mark = traceEvents.find(({ name }) => name === `page ${at}`)!;
    const tasks = traceEvents.filter(
      ({ name, pid, tid }) => name === 'ThreadControllerImpl::RunTask' && pid === mark.pid && tid === mark.tid,
    );
    if (tasks.length === 0) throw new Error('the trace has no tasks of the page');
    return Math.max(...tasks.map(({ tdur }) => (tdur ?? 0) / 1_000));
  });
}
