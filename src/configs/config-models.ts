/**
 * Which ids of Anthropic's models are served, and what the models refuse, from the SDK's list and the API's documents of
 * 2026-11-23. Such knowledge grows old, so it leads to warnings and never to a problem.
 */
import { quote, suggestion } from '../settings/problems.ts';

const current = ['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5'];

const served: ReadonlySet<string> = new Set([
  ...current,
  'claude-fable-5-2',
  'claude-fable-5-1',
  'claude-fable-5',
  'claude-mythos-5-2',
  'claude-mythos-5-1',
  'claude-mythos-5',
  'claude-mythos-preview',
  'claude-opus-5',
  'claude-sonnet-5',
  'claude-opus-4-8',
  'claude-opus-4-7',
  'claude-opus-4-6',
  'claude-opus-4-5',
  'claude-opus-4-5-20251101',
  'claude-sonnet-4-6',
  'claude-sonnet-4-5',
  'claude-sonnet-4-5-20250929',
  'claude-haiku-4-5',
  'claude-haiku-4-5-20251001',
]);

/** Models that upstream will stop serving, each with the day. */
const retiring: ReadonlyMap<string, string> = new Map([
  ['claude-sonnet-4-5', '2026-11-30'],
  ['claude-sonnet-4-5-20250929', '2026-11-30'],
]);

/** 4.5 is `[4, 5]`, so that versions compare as numbers do. */
type Version = readonly [major: number, minor: number];

const oldestServed: Version = [4, 5];
const newestServed: Version = [5, 5];

/** The version in the id of one of Anthropic's models; undefined for other ids, and for ids without a version. */
export function versionOf(model: string): Version | undefined {
  const found =
    // claude-sonnet-5-5, claude-opus-4-20250514
    /^claude-[a-z]+-(\d{1,2})(?:[-.](\d{1,2}))?(?:-(?:\d{8}|latest))?$/.exec(model) ??
    // claude-3-5-sonnet-20240620, claude-2.1
    /^claude-(\d{1,2})(?:[-.](\d{1,2}))?(?:-[a-z]+)?(?:-(?:\d{8}|latest))?$/.exec(model);
  return found ? [Number(found[1]), Number(found[2] ?? 0)] : undefined;
}

export function isAtLeast([major, minor]: Version, [leastMajor, leastMinor]: Version): boolean {
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}

/** Why Anthropic most likely does not serve a model of this id; undefined where it does. */
export function modelDoubt(model: string): string | undefined {
  const day = retiring.get(model);
  if (day !== undefined) return `${quote(model)} is retired from ${day} on; current are ${current.join(', ')}`;
  if (served.has(model)) return undefined;
  const version = versionOf(model);
  if (version && !isAtLeast(version, oldestServed)) {
    return `${quote(model)} is retired; current are ${current.join(', ')}`;
  }
  // A version newer than this list most likely exists by now.
  const family = /^claude-[a-z]+/.exec(model)?.[0] ?? '';
  const isFamily = [...served].some((id) => id.startsWith(`${family}-`));
  if (version && isFamily && isAtLeast(version, newestServed) && !isAtLeast(newestServed, version)) return undefined;
  const meant = suggestion(model, served);
  return meant === '' ? undefined : `${quote(model)} is no model that is known here${meant}`;
}

/** Why the id can't be that of one of Anthropic's models; undefined where it can. */
export function strangerDoubt(model: string): string | undefined {
  if (model.startsWith('claude-')) return undefined;
  return `${quote(model)} is no model of Anthropic's (current are ${current.join(', ')}); base_url names another server`;
}
