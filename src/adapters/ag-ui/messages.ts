/**
 * A conversation of AG-UI as messages of a request. What upstream would refuse is left out if the client can't know better: calls
 * without a result, thinking without its signature. What the Messages API has no form for becomes a problem with a name.
 */
import type { ContentBlock, InputIssue, Message } from '../../protocol.ts';
import { resultNotShown } from './encoder.ts';

/** Where the bytes of a file are: in the message, or at a URL. */
export interface AgUiSource {
  readonly type: 'data' | 'url';
  /** Base64, or the URL. */
  readonly value: string;
  /** The type of the bytes, such as `image/png`. */
  readonly mimeType?: string | undefined;
}

/** A part of the content of a message: `text`, `image`, `document`, or `binary` as older clients write it. */
export interface AgUiPart {
  readonly type: string;
  readonly text?: string | undefined;
  readonly source?: AgUiSource | undefined;
  readonly mimeType?: string | undefined;
  readonly data?: string | undefined;
  readonly url?: string | undefined;
}

/** What a call calls. */
export interface AgUiFunctionCall {
  /** Name of the tool. */
  readonly name: string;
  /** The input, as JSON. */
  readonly arguments: string;
}

/** A call, as a message of the model repeats it. */
export interface AgUiToolCall {
  /** The id of the call. */
  readonly id: string;
  /** What it calls. */
  readonly function: AgUiFunctionCall;
}

/** A message of AG-UI, with the fields that are read. */
export interface AgUiMessage {
  /** The id of the message; thinking is found by it again. */
  readonly id?: string | undefined;
  /** `user`, `assistant`, `tool`, `system`, `developer`, `reasoning` or `activity`. */
  readonly role: string;
  /** Text, or a list of parts: text, images and documents. */
  readonly content?: unknown;
  /** The calls of a message of the model. */
  readonly toolCalls?: readonly AgUiToolCall[] | undefined;
  /** In a result: its call. */
  readonly toolCallId?: string | undefined;
  /** In a result: why there is none. */
  readonly error?: string | undefined;
  /** The signature of thinking. */
  readonly encryptedValue?: string | undefined;
  /** `error` in it marks the result of a call that failed. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

/** Something that the model should know of where the user is. */
export interface AgUiContext {
  /** What it is. */
  readonly description: string;
  /** The thing itself. */
  readonly value: string;
}

/** A conversation as messages, or what is wrong with it. */
export interface ReadConversation {
  readonly messages: readonly Message[];
  readonly issues: readonly InputIssue[];
}

type Role = Message['role'];
interface Draft {
  readonly role: Role;
  readonly content: ContentBlock[];
}

/** @param context Is put before the last message of the user, as a block of text. */
export function readConversation(
  given: readonly AgUiMessage[],
  context: readonly AgUiContext[] = [],
): ReadConversation {
  const issues: InputIssue[] = [];
  const results = resultsIn(given, issues);
  const messages: Draft[] = [];
  /** Instructions from before the first message of the user, which must come first. */
  const early: Draft[] = [];
  let thinking: AgUiMessage[] = [];
  const add = (role: Role, content: readonly ContentBlock[]) => {
    if (content.length === 0) return;
    const last = messages.at(-1);
    if (last?.role === role) last.content.push(...content);
    else messages.push({ role, content: [...content] });
    if (role === 'user') messages.push(...early.splice(0));
  };

  for (const [at, message] of given.entries()) {
    const path = `messages[${at}]`;
    switch (message.role) {
      case 'user':
        add('user', blocksOf(message.content, path, issues));
        break;
      case 'assistant': {
        const { content, answers } = answerOf(message, thinking, results, path, issues);
        add('assistant', content);
        add('user', answers);
        break;
      }
      case 'system':
      case 'developer': {
        const content = blocksOf(message.content, path, issues);
        if (messages.length > 0) add('system', content);
        else if (content.length > 0) early.push({ role: 'system', content });
        break;
      }
      case 'tool':
      case 'activity':
      case 'reasoning':
        break;
      default:
        issues.push({ path: `${path}.role`, message: `unknown: ${JSON.stringify(message.role.slice(0, 100))}` });
    }
    thinking = message.role === 'reasoning' ? [...thinking, message] : [];
  }
  addContext(messages, context);
  return { messages, issues };
}

/** What the model wrote in one message, and the results of its calls. */
function answerOf(
  message: AgUiMessage,
  thinking: readonly AgUiMessage[],
  results: ReadonlyMap<string, ContentBlock>,
  path: string,
  issues: InputIssue[],
): { readonly content: ContentBlock[]; readonly answers: ContentBlock[] } {
  const calls = message.toolCalls ?? [];
  const answered = calls.filter(({ id }) => results.has(id));
  const signed = answered.length === calls.length ? thinkingOf(message, thinking) : [];
  return {
    content: [...signed, ...blocksOf(message.content, path, issues), ...answered.map(toolUse)],
    answers: answered.map(({ id }) => results.get(id)!),
  };
}

/** Thinking belongs to a message whose id its own begins with. Without a signature, upstream takes none. */
function thinkingOf({ id, encryptedValue }: AgUiMessage, before: readonly AgUiMessage[]): ContentBlock[] {
  const shown = before.flatMap((each): ContentBlock[] => {
    const own = id !== undefined && each.id?.startsWith(`${id}-reasoning-`) === true;
    if (!own || each.encryptedValue === undefined) return [];
    const thinking = typeof each.content === 'string' ? each.content : '';
    return [{ type: 'thinking', thinking, signature: each.encryptedValue }];
  });
  // Hidden thinking has a signature and no words.
  return encryptedValue === undefined
    ? shown
    : [...shown, { type: 'thinking', thinking: '', signature: encryptedValue }];
}

/** The first result of each call, but for those whose content clients don't know. */
function resultsIn(given: readonly AgUiMessage[], issues: InputIssue[]): Map<string, ContentBlock> {
  const results = new Map<string, ContentBlock>();
  for (const [at, { role, toolCallId, content, error, metadata }] of given.entries()) {
    if (role !== 'tool' || toolCallId === undefined) continue;
    if (results.has(toolCallId) || content === resultNotShown) continue;
    const blocks = typeof content === 'string' ? content : blocksOf(content, `messages[${at}]`, issues);
    const failed = error !== undefined || metadata?.['error'] !== undefined;
    const result = { type: 'tool_result', tool_use_id: toolCallId, content: blocks };
    results.set(toolCallId, failed ? { ...result, is_error: true } : result);
  }
  return results;
}

function toolUse({ id, function: { name, arguments: json } }: AgUiToolCall): ContentBlock {
  let input: unknown;
  try {
    input = JSON.parse(json === '' ? '{}' : json);
  } catch {
    input = undefined;
  }
  const isObject = typeof input === 'object' && input !== null && !Array.isArray(input);
  // Upstream takes only objects, and its documents wrap other input in this way.
  return { type: 'tool_use', id, name, input: isObject ? input : { INVALID_JSON: json } };
}

function blocksOf(content: unknown, path: string, issues: InputIssue[]): ContentBlock[] {
  if (typeof content === 'string') return textBlocks(content);
  if (!Array.isArray(content)) return [];
  return (content as readonly AgUiPart[]).flatMap((part, at) => {
    const block = part.type === 'text' ? textBlocks(part.text ?? '') : fileBlock(part);
    if (block === undefined) {
      const kind = [part.type, part.source?.mimeType ?? part.mimeType].filter((word) => word !== undefined).join(' ');
      const message = `the Messages API takes no ${kind.slice(0, 100)} here`;
      issues.push({ path: `${path}.content[${at}]`, message });
    }
    return block ?? [];
  });
}

/** Upstream refuses text without a character. */
function textBlocks(text: string): ContentBlock[] {
  return text === '' ? [] : [{ type: 'text', text }];
}

/** Undefined for what the Messages API has no form for. */
function fileBlock(part: AgUiPart): ContentBlock[] | undefined {
  const source = part.type === 'binary' ? binarySource(part) : part.source;
  if (source === undefined) return undefined;
  const { type, value, mimeType } = source;
  const kind = part.type === 'binary' ? kindOf(mimeType) : part.type;
  if (kind !== 'image' && kind !== 'document') return undefined;
  if (type === 'url') return [{ type: kind, source: { type: 'url', url: value } }];
  if (kindOf(mimeType) !== kind) return undefined;
  return [{ type: kind, source: { type: 'base64', media_type: mimeType, data: value } }];
}

function binarySource({ mimeType, data, url }: AgUiPart): AgUiSource | undefined {
  if (data !== undefined) return { type: 'data', value: data, mimeType };
  return url === undefined ? undefined : { type: 'url', value: url, mimeType };
}

/** Upstream takes images and PDF as bytes. */
function kindOf(mimeType: string | undefined): 'image' | 'document' | undefined {
  if (mimeType?.startsWith('image/')) return 'image';
  return mimeType === 'application/pdf' ? 'document' : undefined;
}

/** Before the user's last words, but behind results, which upstream wants first. */
function addContext(messages: readonly Draft[], context: readonly AgUiContext[]): void {
  const last = messages.findLast(({ role }) => role === 'user');
  if (!last || context.length === 0) return;
  const text = ['Context:', ...context.map(({ description, value }) => `${description}: ${value}`)].join('\n');
  const at = last.content.findIndex(({ type }) => type !== 'tool_result');
  last.content.splice(at === -1 ? last.content.length : at, 0, { type: 'text', text });
}
