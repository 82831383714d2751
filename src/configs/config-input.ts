/** The types of configs as `defineConfigs` takes them. `npm run fix` prints this file from config-keys.ts: change the table there. */
import type { NoOtherKeys } from './expected.ts';

/** A system prompt: the text itself, or a file with the text. */
export type PromptInput = string | PromptFileInput;

/** A system prompt that stands in a file of its own. */
export interface PromptFileInput {
  /**
   * The path of a text file in UTF-8 of at most 1 MiB. It is relative to the config file, or to the option
   * `promptFolder` where the configs are given to `createLlmRouter`.
   */
  readonly file: string;
  /**
   * The names of all variables in the text, for the types of clients. The service compares them with the text when
   * it loads the configs.
   */
  readonly variables?: readonly string[];
}

/** One config as `defineConfigs` and config files take it. A key whose name ends in `_ms` is in milliseconds. */
export interface ConfigInput<SystemPrompt extends PromptInput = PromptInput, OtherName = string> {
  /** The id that upstream has for the model. */
  readonly model: string;
  /** The most tokens that upstream generates. A model that thinks spends some of them on its thinking. */
  readonly max_tokens: number;
  /**
   * What the model reads before the conversation: the text, or the file that has the text. `{{name}}` in it is a
   * variable, which each request must give. An empty text is not sent.
   */
  readonly system_prompt: SystemPrompt & NoOtherKeys<SystemPrompt, PromptFileInput>;
  /** What the config is for. Clients can read it. */
  readonly description?: string;
  /** How much the model varies its words, from 0 to 1. Models from 4.7 on refuse it. */
  readonly temperature?: number;
  /**
   * The model chooses among the likeliest tokens whose probabilities add up to this, from 0 to 1. Models from 4.7
   * on refuse it.
   */
  readonly top_p?: number;
  /** The model chooses among this many of the likeliest tokens. Models from 4.7 on refuse it. */
  readonly top_k?: number;
  /** Texts at which the model stops. */
  readonly stop_sequences?: readonly string[];
  /** How the model thinks. Unless set, upstream decides it for the model, and clients do not receive the thinking. */
  readonly thinking?: {
    /** Whether the model thinks. `adaptive`, the default, lets the model decide how much. */
    readonly type?: 'adaptive' | 'enabled' | 'disabled';
    /**
     * The most tokens that the model may think for: at least 1,024 and fewer than `max_tokens`. Set with `type:
     * enabled`, and only with it.
     */
    readonly budget_tokens?: number;
    /** Whether clients receive the thinking. Default: `false`. */
    readonly show?: boolean;
  };
  /**
   * Another server that speaks the Messages API, with or without `/v1`. `ANTHROPIC_API_KEY` is never sent to it:
   * `api_key_env` names its key.
   */
  readonly base_url?: string;
  /**
   * The path of the Messages API below the base URL, with a query if the server needs one. `/v1/messages` unless
   * set.
   */
  readonly messages_path?: string;
  /** The name of the environment variable that holds the key for this config. */
  readonly api_key_env?: string;
  /** The header that carries the key. `authorization`, with the key as a bearer token, unless set. */
  readonly api_key_header?: 'authorization' | 'x-api-key';
  /**
   * Headers to send with each request. A value that is a secret stands in an environment variable, which `{env:
   * NAME}` names.
   */
  readonly headers?: Readonly<
    Record<
      string,
      | string
      | {
          /** The environment variable that holds the value. */
          readonly env: string;
        }
    >
  >;
  /** Whether upstream may cache the system prompt. Default: `false`. */
  readonly cache_prompt?: boolean;
  /**
   * What becomes of a generation that has lost its last viewer: it is cancelled after a grace time, or with
   * `continue` it runs to its end. Default: `{cancel_after_ms: 15000}`.
   */
  readonly on_disconnect?:
    | 'continue'
    | {
        /** Milliseconds from the loss of the last viewer. */
        readonly cancel_after_ms: number;
      };
  /** How long upstream may take. */
  readonly timeouts?: {
    /** Milliseconds from the request to the first byte of the response’s body. Default: `60000`. */
    readonly first_byte_ms?: number;
    /** Milliseconds between two events of upstream. Default: `120000`. */
    readonly idle_ms?: number;
    /** Milliseconds for the whole generation, with its retries and its fallback. Default: `600000`. */
    readonly total_ms?: number;
  };
  /** How often a failed request is sent again. After the first output no request is sent again. */
  readonly retries?: {
    /** How many more requests may follow the first; 0 for none. Default: `2`. */
    readonly max?: number;
    /** Milliseconds from the first request on, after which no retry begins. Default: `20000`. */
    readonly total_ms?: number;
  };
  /**
   * The config that takes over where this one and its retries fail before the first output. Its prompt may have no
   * variables but those of this one’s.
   */
  readonly fallback?: OtherName;
  /** US dollars for a million tokens, in place of those of the built-in table. */
  readonly price?: {
    /** For input. */
    readonly input: number;
    /** For output. */
    readonly output: number;
    /** For input that upstream’s cache takes in. */
    readonly cache_write: number;
    /** For input that upstream’s cache already has. */
    readonly cache_read: number;
  };
}
