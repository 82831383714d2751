/** The results for people: a Markdown table for each workload. */
import type { TargetResult, WorkloadResult } from './rounds.ts';
import { foreignBusyPercent, loadCoreBusyPercent, type Figure, type Workload } from './workloads.ts';

export interface Report {
  /** ISO 8601. */
  readonly date: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly kernel: string;
    readonly node: string;
    /** Whether the target had a core to itself. */
    readonly pinned: boolean;
  };
  /** 1 unless the workloads were made smaller. */
  readonly scale: number;
  readonly workloads: readonly WorkloadResult[];
}

export function tableOf(workload: Workload, { results, title, roundsWanted }: WorkloadResult): string {
  // A figure that no target has gets no column.
  const figures = workload.figures.filter(({ key }) => results.some(({ medians }) => key in medians));
  const head = [
    '',
    ...figures.map(({ label, ratio }) => (ratio ? `${label} (× ${workload.relativeTo ?? 'raw'})` : label)),
  ];
  const rows = results.map((result) => [
    `${result.title}${result.loadWasBottleneck ? ' ¹' : ''}${result.disturbed ? ' ²' : ''}`,
    ...(result.failure === undefined
      ? figures.map((figure) => cell(figure, result))
      : [`failed: ${result.failure.split('\n', 1)[0]}`, ...figures.slice(1).map(() => '')]),
  ]);
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((text, column) => (column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]!))).join(' | ')} |`;
  const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  const notes = [
    results.some(({ loadWasBottleneck }) => loadWasBottleneck)
      ? `¹ Upstream or the readers were the bottleneck: their core was busy for over ${loadCoreBusyPercent} % of the time.\n`
      : '',
    results.some(({ disturbed }) => disturbed)
      ? `² Something else took over ${foreignBusyPercent} % of a core meanwhile: measure again on a quiet machine.\n`
      : '',
  ].join('');
  const table = [head, rule, ...rows].map(line).join('\n');
  return `### ${workload.name}: ${title}\n\nMedian of ${roundsWanted} rounds.\n\n${table}\n${notes && `\n${notes}`}`;
}

function cell({ key, digits }: Figure, { medians, ratios }: TargetResult): string {
  const value = medians[key];
  if (value === undefined) return '–';
  const ratio = ratios[key];
  return `${value.toFixed(digits)}${ratio === undefined ? '' : ` (${ratio.toFixed(2)})`}`;
}
