/** Configs as the models that Anthropic's API lists. */
import type { ConfigSummary } from '../../protocol.ts';

/** A config as one of Anthropic's models. The service doesn't know when it was written, so the date says nothing. */
export function anthropicModel({ name, description, maxTokens, variables }: ConfigSummary): object {
  return {
    type: 'model',
    id: name,
    display_name: description ?? name,
    created_at: new Date(0).toISOString(),
    max_tokens: maxTokens,
    llm: { variables },
  };
}

/** All of them on one page. */
export function anthropicModels(configs: readonly ConfigSummary[]): object {
  return {
    data: configs.map(anthropicModel),
    has_more: false,
    first_id: configs.at(0)?.name ?? null,
    last_id: configs.at(-1)?.name ?? null,
  };
}
