/**
 * Warnings about a config that can be served and most likely doesn't do what its author wants. A problem, which stops the
 * service, is wrong whatever upstream is. What upstream refuses today is only a warning, since upstream may change and
 * another server may stand before it.
 */
import { isAtLeast, modelDoubt, strangerDoubt, versionOf } from './config-models.ts';
import type { SoundConfig } from './config-schema.ts';
import type { Problem } from '../settings/problems.ts';
import { listPrices } from '../upstream/list-prices.ts';
import { braceWarnings } from './prompt-warnings.ts';

export interface Doubtful {
  readonly sound: SoundConfig;
  /** The config as written, without defaults. */
  readonly written: unknown;
  /** The text of the system prompt. */
  readonly promptText: string;
  /** Whether requests without a `base_url` go to Anthropic itself. */
  readonly toAnthropic: boolean;
}

/** The warnings of one config; each path is relative to it. */
export function warningsOf(config: Doubtful): Problem[] {
  return [
    ...modelWarnings(config),
    ...thinkingWarnings(config),
    ...effortWarnings(config.sound),
    ...priceWarnings(config),
    ...timeWarnings(config),
    ...promptWarnings(config),
  ];
}

function modelWarnings({ sound, toAnthropic }: Doubtful): Problem[] {
  const { model, base_url, temperature, top_p, top_k, thinking } = sound;
  // Models of another server may have any name and accept any parameter.
  if (base_url !== undefined) return [];
  const doubt = modelDoubt(model) ?? (toAnthropic ? strangerDoubt(model) : undefined);
  const warnings = doubt === undefined ? [] : [{ path: 'model', message: doubt }];
  const sampling = Object.entries({ temperature, top_p, top_k }).filter(([, value]) => value !== undefined);
  const version = versionOf(model);
  if (version && isAtLeast(version, [4, 7])) {
    const message = `refused by ${model}, as by all models from 4.7 on; leave it out`;
    return [...warnings, ...sampling.map(([path]) => ({ path, message }))];
  }
  if (temperature !== undefined && top_p !== undefined) {
    warnings.push({ path: 'top_p', message: 'refused beside temperature by many models; leave one of them out' });
  }
  const thinks = thinking?.type === 'enabled' || thinking?.type === 'adaptive';
  if (version && thinks && temperature !== undefined && temperature !== 1) {
    warnings.push({ path: 'temperature', message: 'refused while the model thinks; leave it out' });
  }
  return warnings;
}

/** With fewer tokens than this, a model that thinks may have none left for text. */
const thinkingTokensMin = 1_024;

function thinkingWarnings({ sound, written }: Doubtful): Problem[] {
  const { model, base_url, thinking, max_tokens } = sound;
  const version = versionOf(model);
  if (base_url !== undefined || !version || !isAtLeast(version, [5, 0])) return [];
  const warnings: Problem[] = [];
  if (thinking?.budget_tokens !== undefined) {
    const message = `refused by ${model}, which decides by itself how much it thinks; leave type and budget_tokens out`;
    warnings.push({ path: 'thinking.budget_tokens', message });
  }
  if (thinking?.type === 'disabled') {
    warnings.push({ path: 'thinking.type', message: `refused by ${model}, which always thinks; leave it out` });
  }
  if (max_tokens < thinkingTokensMin) {
    const message = `${model} thinks first, from these tokens too: with fewer than ${thinkingTokensMin} the answer may stay empty`;
    warnings.push({ path: 'max_tokens', message });
  }
  const callsTools = Object.keys((written as { readonly tools?: object }).tools ?? {}).length > 0;
  if (callsTools && !thinking?.show && isAtLeast(version, [5, 5])) {
    const message = `${model} writes its text between calls of tools as thinking: clients see nothing there unless it is shown`;
    warnings.push({ path: 'thinking.show', message });
  }
  return warnings;
}

function effortWarnings({ model, base_url, effort }: SoundConfig): Problem[] {
  const version = versionOf(model);
  if (base_url !== undefined || effort === undefined || !version || isAtLeast(version, [4, 6])) return [];
  if (model.startsWith('claude-opus-4-5')) return [];
  return [{ path: 'effort', message: `refused by ${model}; leave it out` }];
}

/** Warns where every cost will be null. A model that is doubted has a warning already. */
function priceWarnings({ sound, toAnthropic }: Doubtful): Problem[] {
  const { model, base_url, price, steps } = sound;
  const unknown = unpriced(sound);
  if (price !== undefined || !unknown) return [];
  const [path, what] = unknown;
  const warnings: Problem[] = [];
  if (steps.cost_usd !== undefined) {
    const message = `the price of ${what} is not known here, so this limit is reached after the first step; price sets it`;
    warnings.push({ path: 'steps.cost_usd', message });
  }
  const doubted = path === 'model' && (modelDoubt(model) ?? strangerDoubt(model)) !== undefined;
  if (base_url === undefined && toAnthropic && !doubted) {
    warnings.push({ path, message: `the price of ${what} is not known here, so each costUsd is null; price sets it` });
  }
  return warnings;
}

/** What the list has no price for, and the key that says it; undefined where it has one. */
function unpriced({ model, speed, inference_geo: geo }: SoundConfig): [path: string, what: string] | undefined {
  if (speed === 'fast') return ['speed', 'fast tokens'];
  if (geo !== undefined && geo !== 'global') return ['inference_geo', 'tokens of one region'];
  return listPrices.has(model) ? undefined : ['model', model];
}

/** Judges only times that the operator wrote: a default that is longer than the total does no harm. */
function timeWarnings({ sound, written }: Doubtful): Problem[] {
  const { timeouts, retries } = written as Partial<Pick<SoundConfig, 'timeouts' | 'retries'>>;
  const { total_ms: total } = sound.timeouts;
  const times = {
    'timeouts.first_byte_ms': timeouts?.first_byte_ms,
    'timeouts.idle_ms': timeouts?.idle_ms,
    'retries.total_ms': retries?.total_ms,
  };
  return Object.entries(times)
    .filter(([, ms]) => ms !== undefined && ms > total)
    .map(([path, ms]) => ({
      path,
      message: `${ms} is never reached, since timeouts.total_ms (${total}) ends it before`,
    }));
}

function promptWarnings({ sound, promptText }: Doubtful): Problem[] {
  const warn = (message: string) => ({ path: 'system_prompt', message });
  const isPath = typeof sound.system_prompt === 'string' && /^[\w./\\-]+\.(md|txt|prompt|j2|hbs)$/i.test(promptText);
  const asText = 'the prompt is this path and not the text of the file; write {file: …} for that';
  return [...(isPath ? [warn(asText)] : []), ...braceWarnings(promptText).map(warn)];
}
