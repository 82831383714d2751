/** The types of configs as `defineConfigs` takes them. `npm run fix` prints this file from config-keys.ts: change the table there. */
import type { NoOtherKeys } from './expected.ts';
import type { Schema, ToolsInput } from '../tools/tool.ts';

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
    /**
     * Whether the model thinks. With `adaptive` the model decides how much; a `thinking` without `type` means this.
     * With `between_tools` it thinks only between calls of tools.
     */
    readonly type?: 'adaptive' | 'between_tools' | 'enabled' | 'disabled';
    /**
     * The most tokens that the model may think for: at least 1,024 and fewer than `max_tokens`. Set with `type:
     * enabled`, and only with it.
     */
    readonly budget_tokens?: number;
    /** Whether clients receive the thinking; with `updates` what the model writes about its progress. Default: `false`. */
    readonly show?: boolean | 'updates';
  };
  /** How much the model does for an answer: more takes longer, and more tokens. Unless set, the model’s default. */
  readonly effort?: 'low' | 'medium' | 'high' | 'xhigh' | 'max';
  /**
   * The schema of the object that answers: of zod or another library with Standard Schema, or a JSON Schema. The
   * text of the answer is JSON, and `done.object` says whether it fits.
   */
  readonly output?: Schema;
  /**
   * For a server of `base_url` that has no structured output: with `tool` the object is the input of a tool that
   * the model must call. Upstream guarantees nothing then, and clients see no difference.
   */
  readonly output_mode?: 'tool';
  /**
   * What the model may call: tools that the service executes (`tool`), that the client answers (`clientTool`), and
   * tools of upstream by their `type`.
   */
  readonly tools?: ToolsInput;
  /** Whether the model may call tools. `auto` unless set. */
  readonly tool_choice?: 'auto' | 'none';
  /** Whether the model may call several tools at once. It may unless set to `false`. */
  readonly parallel_tools?: boolean;
  /** MCP servers whose tools upstream calls by itself. */
  readonly mcp_servers?: readonly {
    /** Upstream knows no other type. */
    readonly type?: 'url';
    /** The name of the server, each once. */
    readonly name: string;
    /** Where upstream finds the server. */
    readonly url: string;
    /** The name of the environment variable that holds the token with which upstream authenticates there. */
    readonly token_env?: string;
    /** What holds for each of the server’s tools, as the API has it. */
    readonly default_config?: Readonly<Record<string, unknown>>;
    /** What holds for single tools, by their names, as the API has it. */
    readonly configs?: Readonly<Record<string, unknown>>;
  }[];
  /** How often a generation may go on after the model has called tools. */
  readonly steps?: {
    /**
     * The most messages of the model. Each but the last may call tools, whose results the next one reads. Default:
     * `8`.
     */
    readonly max?: number;
    /** US dollars, after which no more tools are called. A cost that is not known counts as too high. */
    readonly cost_usd?: number;
    /**
     * At a limit the model answers in a last message, without tools; with `end`, the generation ends. Default:
     * `"answer"`.
     */
    readonly at_limit?: 'answer' | 'end';
  };
  /** How long a generation waits for the results and approvals of a client. `timeouts.total_ms` rests meanwhile. */
  readonly client_tools?: {
    /** Milliseconds; with 0 the generation ends at once, and the next request brings the results. Default: `60000`. */
    readonly wait_ms?: number;
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
  /** Whether upstream may cache the system prompt, for five minutes. `cache` says more. Default: `false`. */
  readonly cache_prompt?: boolean;
  /** What upstream keeps of a request, so that the next one that begins the same costs less. */
  readonly cache?: {
    /** Whether the system prompt, with the tools before it, is kept. Default: `false`. */
    readonly system?: boolean;
    /** Whether the tools are kept. Default: `false`. */
    readonly tools?: boolean;
    /** Whether the conversation is kept up to its last block. Default: `false`. */
    readonly messages?: boolean;
    /** How long upstream keeps it after its last use. Five minutes unless set; an hour costs more to write. */
    readonly ttl?: '5m' | '1h';
  };
  /** How upstream shortens a conversation that has become long. What it did is in `done.contextManagement`. */
  readonly context_management?: {
    /** What upstream takes out of a conversation that has become long, and when, as the API has it. */
    readonly edits: readonly {
      /** Its type. */
      readonly type: string;
      /** Fields of the API. */ readonly [field: string]: unknown;
    }[];
    /** Fields of the API. */ readonly [field: string]: unknown;
  };
  /** The container in which upstream runs code, with the skills in it. `done.container` names the one that was used. */
  readonly container?:
    | string
    | {
        /** The id of a container that upstream keeps. */
        readonly id?: string;
        /** The skills that upstream loads. */
        readonly skills?: readonly {
          /** Whose skill it is. */
          readonly type: 'anthropic' | 'custom';
          /** The id of the skill. */
          readonly skill_id: string;
          /** Its version, or `latest`. */
          readonly version?: string;
        }[];
      };
  /**
   * With `caller`, upstream learns which requests have the same caller, by an id from which nobody can read the
   * name. It changes with the key for upstream.
   */
  readonly user_id?: 'caller';
  /** Whether upstream may use capacity that was bought in advance. `usage.serviceTier` says what it used. */
  readonly service_tier?: 'auto' | 'standard_only';
  /** The region in which the model runs. It can change the price, so the cost is unknown unless `price` is set. */
  readonly inference_geo?: string;
  /** With `fast`, more tokens in a second at a higher price: the cost is unknown unless `price` is set. */
  readonly speed?: 'standard' | 'fast';
  /**
   * Names of betas of the API, for the header `anthropic-beta`. Those that other keys need are added; one of them
   * under another date takes its place.
   */
  readonly betas?: readonly string[];
  /**
   * Fields of a request that have no key of their own, by their names in the Messages API. A field that a key sets
   * is refused here.
   */
  readonly extra?: Readonly<Record<string, unknown>>;
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
  /** How often a failed request is sent again. A message that has begun is not asked for again. */
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
