/** The configs that this deployment serves, and the type of the router that serves them. */
import { z } from 'zod';
import { defineConfigs } from './src/define-configs.ts';
import type { LlmRouter } from './src/doors/trpc/router.ts';
import { searchDocuments, timeIn } from './llm.tools.ts';

const configs = defineConfigs({
  default: {
    description: 'A general assistant',
    model: 'claude-sonnet-5-5',
    // The model thinks first, and its thinking spends these tokens too: a few hundred could leave none for the answer.
    max_tokens: 8_192,
    system_prompt: `You are a capable, honest assistant.

Answer the question that was asked, first and directly; add background only where it changes what the reader would do.
Match the length of the answer to the question: a line for a fact, structure for a task. Write in the language of the
last message. Use Markdown where it helps, with a language name on every code block.

When you are not sure, say so, and say what would settle it. When a request can be read in two ways and the difference
matters, ask one short question; otherwise pick the likelier reading, name it, and go on. Never invent sources,
figures or quotations.`,
  },
  welcome: {
    description: 'Greets someone who is new and finds out what they need',
    model: 'claude-sonnet-5-5',
    max_tokens: 4_096,
    system_prompt: `You welcome people who have just arrived in this application.

Greet them in one warm, plain sentence, in their language. Then find out what they came for: ask one open question at a
time, and build on what they answer. Once you know, say in two or three sentences what they can do next.

Keep every message under eighty words. Do not claim to know this application's features, prices or policies; where you
are asked about them, say that you can't see them from here, and help with the next best step.`,
  },
  assistant: {
    description: 'Knows the time everywhere, and the documents of this project',
    model: 'claude-sonnet-5-5',
    max_tokens: 8_192,
    system_prompt: `You are a helpful assistant inside llm-service, a service that streams answers of language models.

Two tools are yours. Call them where the question needs them, for several things at once where it names several, and answer
from what they give rather than from memory. Name the document that a statement comes from. When a tool fails, say so in a
sentence, with what the person could ask instead. Where the question needs no tool, answer it directly.`,
    // The model writes what it says between two calls as thinking.
    thinking: { show: true },
    tools: { timeIn, searchDocuments },
    steps: { max: 6, cost_usd: 0.25, at_limit: 'answer' },
  },
  tutor: {
    description: 'Teaches a subject by asking rather than telling',
    model: 'claude-sonnet-5-5',
    max_tokens: 8_192,
    system_prompt: `You are a patient tutor of {{subject}}.

Start by finding out what the learner knows already and what they want to be able to do. Teach one idea at a time: a
short explanation, one concrete example, then a question that shows whether it was understood. Let the learner take
each next step; give a hint before you give a solution, and a solution when they ask for it twice.

When an answer is wrong, say what is right about it first, then find the step where it went astray. Check your own
working before you show it. If a question leads away from {{subject}}, answer it briefly and lead back.`,
  },
  extract: {
    description: 'Reads a text and answers with an object: what it is about, who is in it, and what is to be done',
    model: 'claude-sonnet-5-5',
    max_tokens: 4_096,
    effort: 'low',
    system_prompt: `You take facts out of the text that the user sends. Take only what the text says. Leave a list empty
where the text has nothing for it, and leave out a date that it doesn't name.`,
    output: z.object({
      title: z.string().describe('What the text is about, in at most eight words.'),
      language: z.string().describe('The language of the text, as a code such as "en".'),
      people: z.array(z.string()).describe('The people in it, by the names that the text has.'),
      tasks: z
        .array(
          z.object({
            task: z.string().describe('What is to be done.'),
            owner: z.string().optional().describe('Who does it.'),
            due: z.iso.date().optional().describe('By when.'),
          }),
        )
        .describe('What somebody has to do.'),
    }),
  },
});

export default configs;
export type AppRouter = LlmRouter<typeof configs>;
