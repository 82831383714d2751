/** The tools of the config `assistant`. They need no network and change nothing, so that anybody may try them. */
import { z } from 'zod';
import { createDocsSearch } from './src/simulator/docs-search.ts';
import { tool, ToolError } from './src/tools/tool.ts';

/** Time zones by the name of their city, in lower case: `oslo` is Europe/Oslo. */
const zones = new Map(
  Intl.supportedValuesOf('timeZone').map((zone) => [zone.split('/').at(-1)!.replaceAll('_', ' ').toLowerCase(), zone]),
);

/** Large cities that give no time zone its name, each with the city that does. */
const neighbours: Readonly<Record<string, string>> = {
  barcelona: 'madrid',
  beijing: 'shanghai',
  bengaluru: 'kolkata',
  bonn: 'berlin',
  boston: 'new york',
  delhi: 'kolkata',
  geneva: 'zurich',
  hamburg: 'berlin',
  kolkata: 'calcutta',
  kyoto: 'tokyo',
  milan: 'rome',
  mumbai: 'kolkata',
  munich: 'berlin',
  osaka: 'tokyo',
  'rio de janeiro': 'sao paulo',
  'san francisco': 'los angeles',
  seattle: 'los angeles',
  washington: 'new york',
};

export const timeIn = tool({
  description: 'The present time in a city, such as Oslo or New York.',
  input: z.object({ city: z.string() }),
  output: z.object({ city: z.string(), time_zone: z.string(), time: z.string() }),
  execute({ city }) {
    const time_zone = zoneOf(city);
    if (time_zone === undefined) throw new ToolError(`No time zone is known for ${city}. Name a large city near it.`);
    const format = new Intl.DateTimeFormat('en-GB', { timeZone: time_zone, dateStyle: 'full', timeStyle: 'short' });
    return { city, time_zone, time: format.format(new Date()) };
  },
});

const search = createDocsSearch();

export const searchDocuments = tool({
  description: 'Searches the documents of llm-service, and returns the two sections that fit best.',
  input: z.object({ query: z.string() }),
  output: z.array(z.object({ document: z.string(), heading: z.string(), text: z.string() })),
  execute: async ({ query }) => [...(await search(query))],
});

/** Some systems name the zone of a city by the city's older name, so a neighbour may have a neighbour. */
function zoneOf(city: string): string | undefined {
  const name = city.normalize('NFD').replaceAll(/\p{M}/gu, '').toLowerCase().trim();
  const next = Object.hasOwn(neighbours, name) ? neighbours[name] : undefined;
  return zones.get(name) ?? (next === undefined ? undefined : zoneOf(next));
}
