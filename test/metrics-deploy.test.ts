/** The dashboard and the alert rules name only metrics and labels that a service has. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send } from './support/raw-http.ts';
import { startTestService } from './support/service.ts';

finishesCleanly();

/** Words of PromQL, which look like names of metrics. */
const words = new Set(
  'sum rate increase histogram_quantile by without on ignoring max min avg clamp_min time changes absent le and or unless'.split(
    ' ',
  ),
);
const labelsOfTargets = new Set(['instance', 'job']);

interface Panel {
  readonly title: string;
  readonly datasource?: unknown;
  readonly targets?: readonly { readonly expr: string }[];
}
interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string };
}

const dashboard = JSON.parse(readFileSync('deploy/grafana-dashboard.json', 'utf8')) as {
  readonly panels: readonly Panel[];
};
const alerts = parse(readFileSync('deploy/alerts.yaml', 'utf8')) as {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
};
const rules = alerts.groups.flatMap((group) => group.rules);
const expressions = [
  ...dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const)),
  ...rules.map(({ alert, expr }) => [alert, expr] as const),
];

/** Each metric's labels: those in README's table, and of prom-client's own, those that were scraped. */
async function knownMetrics(): Promise<Map<string, Set<string>>> {
  await using service = await startTestService();
  const { text } = await send(service.service.metricsUrl!);
  const known = new Map<string, Set<string>>();
  for (const [, name, type] of text.matchAll(/^# TYPE (\w+) (\w+)$/gm)) {
    const row = new RegExp(`^\\| \`${name}\` \\| \\w+ \\|([^|]*)\\|`, 'm').exec(readFileSync('README.md', 'utf8'));
    const labels = row ? [...row[1]!.matchAll(/\w+/g)].map(([label]) => label) : scrapedLabels(text, name!);
    const parts = type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    for (const part of parts) {
      known.set(name! + part, new Set([...labels, ...labelsOfTargets, ...(part === '_bucket' ? ['le'] : [])]));
    }
  }
  return known;
}

function scrapedLabels(text: string, name: string): string[] {
  const lines = [...text.matchAll(new RegExp(`^${name}(?:_\\w+)?\\{(.*)\\}`, 'gm'))];
  return lines.flatMap(([, written]) => [...written!.matchAll(/(\w+)="/g)].map(([, label]) => label!));
}

it('every metric and every label in them exists', async () => {
  const known = await knownMetrics();
  expect(expressions.length).toBeGreaterThan(20);
  for (const [where, expr] of expressions) {
    const bare = expr.replace(/"[^"]*"/g, '""');
    const used: string[] = [];
    for (const [, name, matchers = ''] of bare.matchAll(/\b([a-z]\w*)\b(?:\{([^}]*)\})?/g)) {
      const labels = known.get(name!);
      if (!labels) continue;
      used.push(name!);
      for (const [, label] of matchers.matchAll(/(\w+)\s*(?:=|!)/g))
        expect([...labels], `${where}: ${name}`).toContain(label);
    }
    expect(used.length, `${where}: ${expr}`).toBeGreaterThan(0);
    const labels = new Set(used.flatMap((name) => [...known.get(name)!]));
    for (const [, grouped] of bare.matchAll(/\b(?:by|on)\s*\(([^)]*)\)/g)) {
      for (const label of grouped!.split(',')) expect([...labels], `${where}: ${expr}`).toContain(label.trim());
    }
    // Whatever else looks like a name is a word of PromQL.
    const others = bare.replace(/\{[^}]*\}|\[[^\]]*\]|\b(?:by|on)\s*\([^)]*\)/g, '').matchAll(/\b[a-z]\w*\b/g);
    for (const [name] of others) expect(known.has(name) || words.has(name), `${where}: ${name}`).toBe(true);
    expect(expr.split('(').length, `${where}: ${expr}`).toBe(expr.split(')').length);
  }
});

it('every metric of the service is in the dashboard', async () => {
  const shown = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)).join('\n');
  const own = [...readFileSync('README.md', 'utf8').matchAll(/^\| `(llm_\w+)` \| \w+ \| /gm)].map(([, name]) => name!);
  expect(own.length).toBeGreaterThan(10);
  expect(own.filter((name) => !shown.includes(name))).toEqual([]);
});

it('each alert says how bad it is, what has happened, and what to do', () => {
  expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  const operations = readFileSync('docs/operations.md', 'utf8');
  for (const { alert, labels, annotations } of rules) {
    expect(alert).toMatch(/^Llm[A-Z]\w+$/);
    expect(['page', 'ticket']).toContain(labels.severity);
    expect(operations).toContain(`| \`${alert}\` | ${labels.severity === 'page' ? 'yes' : 'no'} |`);
    expect(annotations.summary).toMatch(/\.$/);
    expect(annotations.description.length).toBeGreaterThan(40);
  }
});
