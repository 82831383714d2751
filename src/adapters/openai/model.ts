/** Configs as the models that OpenAI's API lists. */
import type { ConfigSummary } from '../../protocol.ts';
import { ownServerName } from '../calls.ts';

/** A config as one of OpenAI's models. The service doesn't know when it was written, so the date says nothing. */
export function openAiModel({ name, description, model, maxTokens, variables }: ConfigSummary): object {
  return {
    id: name,
    object: 'model',
    created: 0,
    owned_by: ownServerName,
    llm: { description, model, maxTokens, variables },
  };
}

export function openAiModels(configs: readonly ConfigSummary[]): object {
  return { object: 'list', data: configs.map(openAiModel) };
}
