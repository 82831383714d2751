/**
 * The messages of a chat as the messages of a request: what upstream takes back of them. The messages may come from a client over the
 * wire, or from an app's storage, so no field of theirs is relied on.
 *
 * A call is left out if its result is unknown: the tool declares no `output`, or the answer was stopped. Upstream takes thinking only
 * behind everything that came before it, so where a call is left out, all thinking of that message is too.
 */
import type { ContentBlock, InputIssue, Message } from '../protocol.ts';
import { isRecord, metadataOf, partsOf, toolNameOf, type Part, type UIMessageLike } from './ui-message.ts';
import { fileBlock } from './ui-files.ts';

/** What was wrong with a message of a chat. */
export class UnsupportedMessageError extends Error {
  /** Always `UnsupportedMessageError`. */
  override readonly name = 'UnsupportedMessageError';
  /** What can't be sent, and where it stands. */
  readonly issues: readonly InputIssue[];

  /** @param issues At least one. */
  constructor(issues: readonly InputIssue[]) {
    super(issues.map(({ path, message }) => `${path}: ${message}`).join('; '));
    this.issues = issues;
  }
}

/**
 * The messages of a chat, for a request.
 *
 * @throws UnsupportedMessageError for a file that upstream can't read. It names all of them.
 */
export function toMessages(messages: readonly UIMessageLike[]): Message[] {
  const conversation = new Conversation();
  messages.forEach((message, at) => {
    const path = `messages[${at}]`;
    if (message.role === 'assistant') conversation.addAnswer(message, path);
    else if (message.role === 'system') conversation.add('system', textBlocks(partsOf(message)));
    else conversation.addQuestion(partsOf(message), path);
  });
  if (conversation.issues.length > 0) throw new UnsupportedMessageError(conversation.issues);
  return conversation.messages.map(({ role, content }) => ({ role, content: simplest(content) }));
}

class Conversation {
  readonly messages: { readonly role: Message['role']; readonly content: ContentBlock[] }[] = [];
  readonly issues: InputIssue[] = [];

  /** Adds blocks, to the last message where that has the same role: upstream wants results and the next question in one. */
  add(role: Message['role'], content: readonly ContentBlock[]): void {
    if (content.length === 0) return;
    const last = this.messages.at(-1);
    if (last?.role === role && role !== 'system') last.content.push(...content);
    else this.messages.push({ role, content: [...content] });
  }

  addQuestion(parts: readonly Part[], path: string): void {
    const blocks = parts.flatMap((part, at): ContentBlock[] => {
      if (part['type'] === 'text') return textBlocks([part]);
      if (part['type'] === 'data-block') return dataBlocks(part);
      if (part['type'] !== 'file') return [];
      const block = fileBlock(part);
      if (typeof block !== 'string') return [block];
      this.issues.push({ path: `${path}.parts[${at}]`, message: block });
      return [];
    });
    this.add('user', blocks);
  }

  addAnswer(message: UIMessageLike, path: string): void {
    const parts = partsOf(message);
    const keepsThinking = parts.every((part) => !isLeftOut(part));
    let results: ContentBlock[] = [];
    const endStep = () => {
      this.add('user', results);
      results = [];
    };
    for (const part of parts) {
      if (part['type'] === 'step-start') endStep();
      else if (part['type'] === 'steering-message') {
        endStep();
        this.addQuestion(partsOf(part as unknown as UIMessageLike), path);
      } else if (part['type'] !== 'reasoning' || keepsThinking) {
        const { blocks, result } = blocksOf(part);
        this.add('assistant', blocks);
        if (result) results.push(result);
      }
    }
    endStep();
  }
}

/** Whether a part is a call that is left out, or shows that one is missing before it. */
function isLeftOut(part: Part): boolean {
  if (part['type'] === 'reasoning') return metadataOf(part, 'providerMetadata', 'llm')['gap'] === true;
  return toolNameOf(part) !== undefined && callOf(part) === undefined;
}

interface Call {
  readonly blocks: readonly ContentBlock[];
  /** What the next message of the user begins with. */
  readonly result?: ContentBlock | undefined;
}

function blocksOf(part: Part): Call {
  switch (part['type']) {
    case 'text':
      return { blocks: textBlocks([part]) };
    case 'reasoning':
      return { blocks: thinkingBlocks(part) };
    case 'data-block':
      return { blocks: dataBlocks(part) };
    default:
      return callOf(part) ?? { blocks: [] };
  }
}

function textBlocks(parts: readonly Part[]): ContentBlock[] {
  return parts.flatMap((part) => {
    const { type, text } = part;
    // Upstream refuses a text without a character.
    if (type !== 'text' || typeof text !== 'string' || text === '') return [];
    const { citations } = metadataOf(part, 'providerMetadata', 'anthropic');
    return [{ type: 'text', text, ...(Array.isArray(citations) ? { citations } : {}) }];
  });
}

/** Upstream takes thinking with its signature only, and without its text where that was hidden. */
function thinkingBlocks(part: Part): ContentBlock[] {
  const { signature, redactedData } = metadataOf(part, 'providerMetadata', 'anthropic');
  if (typeof redactedData === 'string') return [{ type: 'redacted_thinking', data: redactedData }];
  if (typeof signature !== 'string') return [];
  const { text } = part;
  return [{ type: 'thinking', thinking: typeof text === 'string' ? text : '', signature }];
}

function dataBlocks({ data }: Part): ContentBlock[] {
  return isRecord(data) && typeof data['type'] === 'string' ? [data as ContentBlock] : [];
}

/** A call with its result; undefined where the call must be left out. */
function callOf(part: Part): Call | undefined {
  const name = toolNameOf(part);
  const { toolCallId: id, input, rawInput, providerExecuted } = part;
  if (name === undefined || typeof id !== 'string') return undefined;
  const ofCall = metadataOf(part, 'callProviderMetadata', 'llm');
  const ofResult = metadataOf(part, 'resultProviderMetadata', 'llm');
  if (ofCall['cut'] === true || ofResult['cut'] === true) return undefined;
  if (providerExecuted === true && ofCall['by'] !== 'service') {
    const result = resultOfUpstream(part, id, ofResult['result']);
    if (!isRecord(ofCall['use']) || !result) return undefined;
    return { blocks: [{ ...ofCall['use'], id, name, input } as unknown as ContentBlock, result] };
  }
  const result = resultOf(part);
  if (!result) return undefined;
  const use = isRecord(ofCall['use']) ? ofCall['use'] : { type: 'tool_use' };
  const block = { ...use, id, name, input: objectOf(input ?? rawInput) } as unknown as ContentBlock;
  return { blocks: [block], result: { type: 'tool_result', tool_use_id: id, ...result } };
}

/** Upstream takes only objects as input, and its documents wrap other input in this way. */
function objectOf(input: unknown): Readonly<Record<string, unknown>> {
  if (isRecord(input)) return input;
  return { INVALID_JSON: typeof input === 'string' ? input : (JSON.stringify(input) ?? '') };
}

function resultOf(part: Part): { readonly content: string; readonly is_error?: true } | undefined {
  const { state, output, errorText } = part;
  const approval = isRecord(part['approval']) ? part['approval'] : {};
  const failed = (content: string) => ({ content, is_error: true as const });
  switch (state) {
    case 'output-available':
      if (output === undefined) return undefined;
      return { content: typeof output === 'string' ? output : JSON.stringify(output) };
    case 'output-error':
      return failed(typeof errorText === 'string' && errorText !== '' ? errorText : 'The tool failed');
    case 'output-denied':
      return failed(typeof approval['reason'] === 'string' ? approval['reason'] : 'The call was denied');
    case 'approval-responded':
      // The generation that waited for the approval is over, and another one can't execute its call.
      if (approval['approved'] === true) return failed('The approval came too late, so the call was not executed');
      return failed(typeof approval['reason'] === 'string' ? approval['reason'] : 'The call was denied');
    default:
      return undefined;
  }
}

/** The block in which upstream told the result of its own tool; undefined where it told none. */
function resultOfUpstream({ state, output }: Part, id: string, fields: unknown): ContentBlock | undefined {
  if (!isRecord(fields)) return undefined;
  const content = state === 'output-available' ? output : fields['content'];
  return { ...fields, tool_use_id: id, content } as unknown as ContentBlock;
}

/** A single text as a string, which is what most messages are. */
function simplest(content: readonly ContentBlock[]): Message['content'] {
  const [only] = content;
  return content.length === 1 && only?.type === 'text' && !('citations' in only) ? String(only['text']) : content;
}
