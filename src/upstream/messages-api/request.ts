/**
 * A config and a conversation as a request to the Messages API. Knows the API's parameters and versions, nothing of how
 * a request is sent. What a config doesn't set isn't sent, so that upstream's own defaults hold.
 */
import type { Config } from '../../configs/configs.ts';
import type { Message } from '../../protocol.ts';

/** The version whose stream is read here. Stated, lest it be whatever the SDK finds in its environment. */
const version = '2026-10-21';
/** The last version that takes `temperature`, `top_p` and `top_k`; the present one refuses them. */
const samplingVersion = '2023-06-01';

interface TextBlock {
  readonly type: 'text';
  readonly text: string;
  readonly cache_control: { readonly type: 'ephemeral' };
}

interface Thinking {
  readonly type: string;
  readonly budget_tokens?: number;
  readonly display?: 'summarized' | 'omitted';
}

export interface MessageRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: {
    readonly model: string;
    readonly max_tokens: number;
    readonly stream: true;
    readonly messages: readonly Message[];
    readonly system?: string | readonly TextBlock[];
    readonly temperature?: number;
    readonly top_p?: number;
    readonly top_k?: number;
    readonly stop_sequences?: readonly string[];
    readonly thinking?: Thinking;
  };
}

export function buildMessageRequest(
  config: Config,
  messages: readonly Message[],
  variables: Readonly<Record<string, string>>,
): MessageRequest {
  const { temperature, topP, topK, stopSequences, thinking } = config;
  const prompt = config.prompt.render(variables);
  return {
    headers: headersOf(config),
    body: {
      model: config.model,
      max_tokens: config.maxTokens,
      stream: true,
      // An empty system prompt is refused.
      ...(prompt === '' ? {} : { system: config.cachePrompt ? [cached(prompt)] : prompt }),
      messages,
      ...(temperature === undefined ? {} : { temperature }),
      ...(topP === undefined ? {} : { top_p: topP }),
      ...(topK === undefined ? {} : { top_k: topK }),
      ...(stopSequences === undefined ? {} : { stop_sequences: stopSequences }),
      ...(thinking === undefined ? {} : { thinking: thinkingOf(thinking) }),
    },
  };
}

/** Those that follow from the config's parameters. */
export function headersOf({ temperature, topP, topK }: Config): MessageRequest['headers'] {
  const samples = temperature !== undefined || topP !== undefined || topK !== undefined;
  return { 'anthropic-version': samples ? samplingVersion : version };
}

function cached(text: string): TextBlock {
  return { type: 'text', text, cache_control: { type: 'ephemeral' } };
}

function thinkingOf({ type, budgetTokens, show }: NonNullable<Config['thinking']>): Thinking {
  if (type === 'disabled') return { type };
  return {
    type: type ?? 'adaptive',
    ...(budgetTokens === undefined ? {} : { budget_tokens: budgetTokens }),
    // Hidden thinking isn't even sent to us: it comes sooner to the text.
    display: show ? 'summarized' : 'omitted',
  };
}
