import type { LlmRouter } from 'llm-service';
import { defineConfigs } from 'llm-service/config';

const common = { model: 'claude-sonnet-5-5', max_tokens: 8_192 } as const;

const configs = defineConfigs({
  default: { ...common, description: 'Any question', system_prompt: 'You are a capable, honest assistant.' },
  brief: { ...common, description: 'In one sentence', system_prompt: 'Answer in one sentence.' },
});

export default configs;
export type AppRouter = LlmRouter<typeof configs>;
