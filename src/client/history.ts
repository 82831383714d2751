/**
 * An answer as messages of the conversation, for the next request: what the model wrote, its calls, and their results. Made from
 * the events, and so without what clients don't get.
 */
import type { ContentBlock, DoneEvent, LlmEvent, Message, ToolCallEvent, ToolResultEvent } from '../protocol.ts';
import { LlmClientError } from './error.ts';

/** One message of the model, and what became of its calls. */
interface Step {
  /** By index. An object yields such keys in their order, whatever the order in which they were set. */
  readonly blocks: Record<number, ContentBlock>;
  /** By the id of the call. */
  readonly results: Map<unknown, ToolResultEvent>;
  /** The ids of the calls that a client answers. */
  readonly ofClient: Set<unknown>;
}

/**
 * The messages, once the answer is done: the model's, and after each that calls tools one with their results.
 *
 * A call is left out if its result is unknown here: the tool is hidden, or it declares no `output`, or the answer has ended before
 * the result. The calls that wait for a client stay, since the next request can bring their results. Upstream takes thinking only
 * behind everything that came before it, so where a call is left out, all thinking of the answer is too.
 *
 * @throws LlmClientError
 */
export async function readMessages(events: AsyncIterable<LlmEvent>): Promise<Message[]> {
  let step = newStep();
  const steps = [step];
  for await (const event of events) {
    switch (event.type) {
      case 'text':
      case 'thinking':
        addText(step, event);
        break;
      case 'block':
        addFields(step, event.index, event.block);
        break;
      case 'tool_call':
        step.blocks[event.index] = toolUse(event);
        if (event.by === 'client') step.ofClient.add(event.id);
        break;
      case 'tool_result':
        step.results.set(event.id, event);
        break;
      case 'step':
        // After a pause the model goes on with the same message.
        if (event.stopReason !== 'pause_turn') steps.push((step = newStep()));
        break;
      case 'done':
        return messagesOf(steps, event);
      case 'error':
      case 'cancelled':
        throw LlmClientError.fromEvent(event);
      default:
        break;
    }
  }
  return [];
}

function newStep(): Step {
  return { blocks: {}, results: new Map(), ofClient: new Set() };
}

function addText({ blocks }: Step, { type, index, text }: { type: 'text' | 'thinking'; index: number; text: string }) {
  const before = blocks[index];
  blocks[index] = { ...before, type, [type]: `${(before?.[type] as string | undefined) ?? ''}${text}` };
}

/** Of text and thinking, the text came before, and only the other fields are here: citations, a signature. */
function addFields({ blocks }: Step, index: number, fields: Readonly<Record<string, unknown>>): void {
  const type = String(fields['type']);
  // The text of hidden thinking is empty for upstream, too.
  blocks[index] = { ...(type === 'thinking' && { thinking: '' }), ...blocks[index], ...fields, type };
}

function toolUse({ id, name, input }: ToolCallEvent): ContentBlock {
  const isObject = typeof input === 'object' && input !== null && !Array.isArray(input);
  // Upstream takes only objects, and its documents wrap other input in this way.
  const wrapped = () => ({ INVALID_JSON: typeof input === 'string' ? input : JSON.stringify(input) });
  return { type: 'tool_use', id, name, input: isObject ? input : wrapped() };
}

function toolResult(result: ToolResultEvent): ContentBlock {
  const block = { type: 'tool_result', tool_use_id: result.id };
  if (!result.ok) return { ...block, content: result.error.message, is_error: true };
  const { output } = result;
  return { ...block, content: typeof output === 'string' ? output : JSON.stringify(output) };
}

function messagesOf(steps: readonly Step[], { stopReason }: DoneEvent): Message[] {
  const isKept = ({ results, ofClient }: Step, { type, id }: ContentBlock) => {
    if (type !== 'tool_use') return true;
    const result = results.get(id);
    if (!result) return stopReason === 'tool_use' && ofClient.has(id);
    return !result.ok || result.output !== undefined;
  };
  const withThinking =
    isWhole(steps) && steps.every((step) => Object.values(step.blocks).every((block) => isKept(step, block)));

  const messages: { role: 'user' | 'assistant'; content: ContentBlock[] }[] = [];
  const add = (role: 'user' | 'assistant', content: readonly ContentBlock[]) => {
    const last = messages.at(-1);
    if (last?.role === role) last.content.push(...content);
    else if (content.length > 0) messages.push({ role, content: [...content] });
  };
  for (const step of steps) {
    const kept = Object.values(step.blocks).filter(
      (block) => isKept(step, block) && isTaken(block) && (withThinking || !isThinking(block)),
    );
    add('assistant', kept);
    const results = kept.flatMap(({ id }) => step.results.get(id) ?? []);
    add('user', results.map(toolResult));
  }
  return messages;
}

/** Whether each block was seen: the indexes count through the answer, and those of hidden tools are missing. */
function isWhole(steps: readonly Step[]): boolean {
  const indexes = steps.flatMap(({ blocks }) => Object.keys(blocks).map(Number));
  return indexes.every((index) => index < indexes.length);
}

function isThinking({ type }: ContentBlock): boolean {
  return type === 'thinking' || type === 'redacted_thinking';
}

/** Upstream refuses text without a character, thinking without its signature, and a call whose input was cut short. */
function isTaken({ type, text, signature, input }: ContentBlock): boolean {
  if (type === 'text') return typeof text === 'string' && text !== '';
  return type === 'thinking' ? signature !== undefined : type !== 'tool_use' || input !== undefined;
}
