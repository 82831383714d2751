/** Metrics as a scraper reads them: samples of the Prometheus text format, by their name and their labels in order. */
import { expect } from 'vitest';
import { send } from './raw-http.ts';

export type Samples = ReadonlyMap<string, number>;

/** The sample's key: `llm_viewers{door="sse"}`. Labels are sorted, so that a test may write them in any order. */
export function sample(name: string, labels: Readonly<Record<string, string>> = {}): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return pairs.length === 0 ? name : `${name}{${pairs.toSorted().join(',')}}`;
}

/** All samples of a page of metrics. Fails for a line that is none. */
export function samplesIn(text: string): Samples {
  const samples = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, name, written = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? expect.fail(line);
    const labels = [...written.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, of]) => [label!, of!] as const);
    const key = sample(name!, Object.fromEntries(labels));
    expect(samples.has(key), `${key} stands twice`).toBe(false);
    samples.set(key, Number(value!.replace('Inf', 'Infinity')));
  }
  return samples;
}

/** The samples at an address, those of the service alone. */
export async function scrape(metricsUrl: string | undefined): Promise<Samples> {
  const { status, text } = await send(metricsUrl!);
  expect(status).toBe(200);
  return new Map([...samplesIn(text)].filter(([key]) => key.startsWith('llm_')));
}

/** The names of the labels of each metric. The parts of a histogram count as one, without `le`. */
export function labelsByMetric(samples: Samples): Map<string, string> {
  const metrics = new Map<string, string>();
  for (const key of samples.keys()) {
    const name = key.replace(/\{.*/, '').replace(/_(?:bucket|sum|count)$/, '');
    const labels = [...key.matchAll(/(\w+)="/g)].map(([, label]) => label!).filter((label) => label !== 'le');
    metrics.set(name, labels.join(', '));
  }
  return metrics;
}
