/** How long pages were held up: the longest task of each one's main thread while something went on. */
import type { Page } from 'playwright-core';

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Of the processor, in microseconds. */
  readonly tdur?: number;
}

/** In milliseconds of the processor, so that what else the machine does is left out; in the order of the pages. */
export async function longestTasks(pages: readonly Page[], act: () => Promise<void>): Promise<number[]> {
  const browser = pages[0]!.context().browser()!;
  await browser.startTracing(undefined, { categories: ['toplevel', 'blink.user_timing'] });
  // Tells which of the processes is whose.
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
