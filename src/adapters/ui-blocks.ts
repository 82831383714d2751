/**
 * Content blocks of upstream as chunks of the AI SDK: citations, thinking, the calls of upstream's own tools with their results, and
 * kinds that nobody knows yet. What a part of the AI SDK has no field for is kept in its metadata, so that `toMessages` can give the
 * block back as upstream sent it.
 */
import type { BlockEvent } from '../protocol.ts';
import { isRecord, type JsonObject, type PartMetadata, type UIMessageChunk } from './ui-message.ts';

type Block = BlockEvent['block'];

/** The words for a call that the model didn't write to its end. */
export const cutShort = 'The input of this call was cut short';

/** The id of a part: the index of its block. */
export function partId(index: number): string {
  return String(index);
}

/** What the end of a text with citations carries, and one source for each thing that it cites, unless that was cited before. */
export function citationChunks(
  index: number,
  citations: readonly unknown[],
  cited: Set<string>,
): { readonly metadata: PartMetadata; readonly sources: readonly UIMessageChunk[] } {
  const sources = citations.filter(isRecord).flatMap((citation, at): UIMessageChunk[] => {
    const source = sourceOf(citation, `${index}-${at}`);
    const name = JSON.stringify({ ...source, sourceId: '' });
    if (cited.has(name)) return [];
    cited.add(name);
    return [source];
  });
  return { metadata: { anthropic: { citations: citations as JsonObject[] } }, sources };
}

function sourceOf(citation: Readonly<Record<string, unknown>>, sourceId: string): UIMessageChunk {
  const { type, url, source, title, document_title: documentTitle } = citation;
  const address = [url, source].find((each) => typeof each === 'string' && /^https?:/i.test(each)) as
    | string
    | undefined;
  const name = [title, documentTitle, source].find((each) => typeof each === 'string' && each !== '') as
    | string
    | undefined;
  if (address !== undefined) {
    return { type: 'source-url', sourceId, url: address, ...(name === undefined ? {} : { title: name }) };
  }
  const mediaType = type === 'page_location' ? 'application/pdf' : 'text/plain';
  return { type: 'source-document', sourceId, mediaType, title: name ?? 'Document' };
}

/** The call of a tool of upstream's: one that upstream runs itself, or one that the client is to run. */
export function toolUseChunk(block: Block): UIMessageChunk {
  const { id, name, input, input_json: cutInput, ...others } = block;
  const call = {
    toolCallId: String(id),
    toolName: String(name),
    dynamic: true,
    ...(block['type'] === 'tool_use' ? {} : { providerExecuted: true }),
  };
  if (input === undefined) {
    const providerMetadata = { llm: { cut: true } };
    return { type: 'tool-input-error', ...call, input: cutInput, errorText: cutShort, providerMetadata };
  }
  return { type: 'tool-input-available', ...call, input, providerMetadata: { llm: { use: others as JsonObject } } };
}

/** The result of a tool that upstream has run. */
export function toolResultChunk(block: Block): UIMessageChunk {
  const { tool_use_id: id, content, ...others } = block;
  const call = { toolCallId: String(id), dynamic: true, providerExecuted: true };
  const error = errorIn(block);
  if (error === undefined) {
    const providerMetadata = { llm: { result: others as JsonObject } };
    return { type: 'tool-output-available', ...call, output: content, providerMetadata };
  }
  // The part of a failed call has no place for the content.
  const providerMetadata = { llm: { result: { ...others, content } as JsonObject } };
  return { type: 'tool-output-error', ...call, errorText: error, providerMetadata };
}

/** Why a result is an error: upstream's code for it, or its text. Undefined where it is none. */
function errorIn({ is_error: isError, content }: Block): string | undefined {
  if (isRecord(content) && typeof content['error_code'] === 'string') return content['error_code'];
  if (isError !== true) return undefined;
  return typeof content === 'string' ? content : 'The tool failed';
}

/** Whether a block is the result of a tool that upstream has run. */
export function isToolResult({ type, tool_use_id: id }: Block): boolean {
  return typeof type === 'string' && type.endsWith('tool_result') && typeof id === 'string';
}

/** Whether a block is the call of a tool of upstream's. */
export function isToolUse({ type, id, name }: Block): boolean {
  return typeof type === 'string' && type.endsWith('tool_use') && typeof id === 'string' && typeof name === 'string';
}
