/**
 * The commands `/sim …`: replies that a person, or a test that goes through the whole service, asks for in the last
 * user message. Every fault is a command too, by its name.
 */
import type { Asked } from './asked.ts';
import type { Reply } from './reply.ts';
import { faults, isFaultName } from './faults.ts';
import { randomId, type Random } from './random.ts';
import type { ScriptedBlock } from './streaming.ts';
import { countTokens } from './tokens.ts';
import { callOf, customTools, inputsFor } from './tool-calls.ts';
import { answerFromResults } from './tool-results.ts';
import type { MessagesBody } from './validation.ts';

/** The most tokens that `/sim tokens` sends. */
const tokensMax = 1_000_000;
/** The most calls that `/sim tools` makes. */
const callsMax = 100;

/** The deltas of an input that doesn't end. */
const halfInput = ['', '{"city": "Reyk', 'javík", "days": [1, 2'].map((json) => ({
  type: 'input_json_delta',
  partial_json: json,
}));

interface Context {
  readonly arg: string;
  readonly random: Random;
  readonly body: MessagesBody;
  readonly asked: Asked;
}

interface Command {
  readonly usage: string;
  readonly description: string;
  reply(context: Context): Reply;
}

const commands: Readonly<Record<string, Command>> = {
  help: {
    usage: 'help [NAME]',
    description: 'this list, or what a fault does',
    reply: ({ arg }) => ({ kind: 'text', text: faults.find(({ name }) => name === arg)?.description ?? help() }),
  },
  echo: {
    usage: 'echo TEXT',
    description: 'TEXT, as it is',
    reply: ({ arg }) => ({ kind: 'text', text: arg === '' ? 'Nothing to echo.' : arg }),
  },
  tokens: {
    usage: 'tokens N',
    description: 'N tokens of words, 100 unless told',
    reply: ({ arg }) => ({
      kind: 'text',
      text: wordsOf(Math.min(tokensMax, Math.max(1, Math.trunc(Number(arg)) || 100))),
    }),
  },
  thinking: {
    usage: 'thinking',
    description: 'signed thinking, then text',
    reply: ({ random }) =>
      blocks(
        thinkingBlock('The user wants to see me think. Nothing needs thought here, so a short show will do.', random),
        text('That was a thinking block. The thought itself was scripted.'),
      ),
  },
  redacted: {
    usage: 'redacted',
    description: 'redacted thinking, then text',
    reply: ({ random }) =>
      blocks({ type: 'redacted_thinking', data: signature(random) }, text('The thought before this was redacted.')),
  },
  tool: {
    usage: 'tool [N|NAME]',
    description: 'a call of the first tool, or of NAME; in N steps',
    reply: (context) => {
      const steps = Math.max(1, Math.trunc(Number(context.arg)) || 1);
      if (hasAnswer(context, steps)) return results(context);
      const called = Number.isNaN(Number(context.arg)) ? calledBy(context, context.arg) : calledBy(context);
      return blocks(text('I will look that up.'), callOf(...called, context.random));
    },
  },
  tools: {
    usage: 'tools N',
    description: 'N calls at once, 2 unless told',
    reply: (context) => {
      if (hasAnswer(context, 1)) return results(context);
      const tools = customTools(context.body);
      const calls = Math.min(callsMax, Math.max(1, Math.trunc(Number(context.arg)) || 2));
      return blocks(
        ...Array.from({ length: calls }, (_, index) =>
          callOf(...calledBy(context, tools[index % Math.max(1, tools.length)]?.name), context.random),
        ),
      );
    },
  },
  tool_broken: {
    usage: 'tool_broken',
    description: 'a call whose input is no JSON',
    reply: (context) => {
      if (hasAnswer(context, 1)) return results(context);
      const [name] = calledBy(context);
      return blocks({ ...callOf(name, {}, context.random), deltas: halfInput });
    },
  },
  tool_cut: {
    usage: 'tool_cut',
    description: 'a tool call cut off by max_tokens',
    reply: ({ random }) => ({
      kind: 'blocks',
      stopReason: 'max_tokens',
      blocks: [
        {
          type: 'tool_use',
          id: randomId('toolu', random),
          name: 'get_weather',
          input: {},
          deltas: halfInput,
        },
      ],
    }),
  },
  server_tool: {
    usage: 'server_tool',
    description: 'a web search by the server',
    reply: ({ random }) => {
      const id = randomId('srvtoolu', random);
      const result = {
        type: 'web_search_result',
        title: 'Example Domain',
        url: 'https://example.com/',
        encrypted_content: signature(random),
        page_age: null,
      };
      return {
        ...blocks(
          { type: 'server_tool_use', id, name: 'web_search', input: { query: 'example domain' } },
          { type: 'web_search_tool_result', tool_use_id: id, content: [result] },
          text('The one page that the simulator knows is example.com.'),
        ),
        usage: { server_tool_use: { web_search_requests: 1 } },
      };
    },
  },
  citations: {
    usage: 'citations',
    description: 'text with a citation',
    reply: () =>
      blocks(text('The document says: '), {
        type: 'text',
        text: 'the grass is green.',
        citations: [
          {
            type: 'char_location',
            cited_text: 'The grass is green.',
            document_index: 0,
            document_title: 'Colours',
            start_char_index: 0,
            end_char_index: 19,
          },
        ],
      }),
  },
  refusal: {
    usage: 'refusal',
    description: 'no content, stop reason refusal',
    reply: () => ({
      kind: 'blocks',
      blocks: [],
      stopReason: 'refusal',
      stopDetails: { type: 'refusal', category: null, explanation: 'The simulator was asked to refuse.' },
    }),
  },
  pause_turn: {
    usage: 'pause_turn',
    description: 'stop reason pause_turn',
    reply: ({ random }) => ({
      kind: 'blocks',
      blocks: [
        text('This takes a while.'),
        { type: 'server_tool_use', id: randomId('srvtoolu', random), name: 'web_search', input: { query: 'slow' } },
      ],
      stopReason: 'pause_turn',
    }),
  },
};

/** The reply that a question of the form `/sim …` asks for; undefined for any other question. */
export function commandReply(asked: Asked, body: MessagesBody, random: Random): Reply | undefined {
  const match = /^\s*\/sim(?:\s+(\S+)(?:\s+([\s\S]*))?)?\s*$/.exec(asked.question);
  if (match === null) return undefined;
  const name = match[1] ?? 'help';
  const arg = (match[2] ?? '').trimEnd();
  if (isFaultName(name)) {
    const number = Number.parseFloat(arg);
    return { kind: 'fault', fault: name, arg: number >= 0 ? number : undefined };
  }
  if (Object.hasOwn(commands, name)) return commands[name]!.reply({ arg, random, body, asked });
  return { kind: 'text', text: `There is no \`/sim ${name}\`.\n\n${help()}` };
}

export function thinkingBlock(thinking: string, random: Random): ScriptedBlock {
  return { type: 'thinking', thinking, signature: signature(random) };
}

/** The list of commands. It is short, so that a config whose `max_tokens` is a few hundred doesn't cut it off. */
function help(): string {
  const list = Object.values(commands).map(({ usage, description }) => `- \`/sim ${usage}\`: ${description}\n`);
  return `I play these answers:\n\n${list.join('')}\nand these faults: ${faults.map(({ name }) => name).join(', ')}.`;
}

/** Whether the calls that the command asks for have been made, or none may be made any more. */
function hasAnswer({ asked, body }: Context, steps: number): boolean {
  return asked.steps >= steps || body.tool_choice?.type === 'none';
}

function results({ asked }: Context): Reply {
  return { kind: 'text', text: answerFromResults(asked.results) };
}

/** The name of a tool, by default the request's first, and an input that fits its schema. */
function calledBy({ body }: Context, named?: string): [name: string, input: unknown] {
  const tools = customTools(body);
  const tool = named === undefined ? tools[0] : tools.find(({ name }) => name === named);
  if (tool !== undefined) return [tool.name, inputsFor(tool, '')[0]];
  return [named ?? 'get_weather', { city: 'Reykjavík', days: [1, 2, 3], unit: 'celsius' }];
}

function blocks(...list: ScriptedBlock[]): Reply & { readonly kind: 'blocks' } {
  return { kind: 'blocks', blocks: list };
}

function text(content: string): ScriptedBlock {
  return { type: 'text', text: content };
}

/** Random base64, which looks like a signature of the API's. */
function signature(random: Random): string {
  return Buffer.from(Array.from({ length: 96 }, () => random() & 255)).toString('base64');
}

const words = ['one ', 'and ', 'two ', 'for ', 'you ', 'can ', 'see ', 'how ', 'far ', 'all ', 'the ', 'way ', 'out '];

/** Yields one delta for each token. */
function* wordsOf(tokens: number): Generator<string> {
  for (let sent = 0; sent < tokens; sent += countTokens(words[0]!)) yield words[sent % words.length]!;
}
