/** Parts of OpenAI's items that stand for something of the Messages API, in both directions. Pure. */

type Fields = Readonly<Record<string, unknown>>;

/** A citation as an annotation of the text before it; undefined for a citation that names neither a URL nor a document. */
export function annotationOf(citation: unknown, textLength: number): Fields | undefined {
  if (typeof citation !== 'object' || citation === null) return undefined;
  const { url, title, document_title: documentTitle, document_index: document, file_id: fileId } = citation as Fields;
  if (typeof url === 'string') {
    return { type: 'url_citation', url, title: title ?? url, start_index: 0, end_index: textLength };
  }
  if (typeof document !== 'number') return undefined;
  const filename = documentTitle ?? `document ${document}`;
  return { type: 'file_citation', file_id: fileId ?? String(document), filename, index: textLength };
}

/** The id of the item that a call is. It holds the step, by which calls of one message are known when they are sent back. */
export function callItemId(prefix: 'fc' | 'mcp', generationId: string, step: number, callId: string): string {
  return `${prefix}_${generationId}_${step}_${callId}`;
}

/** The step of an item of a call, and upstream's id of the call. */
export function callOf(itemId: string): { readonly step: string; readonly id: string } {
  const [, generationId = '', step = '', id = itemId] = /^[a-z]+_([0-9a-f-]+)_(\d+)_(.*)$/s.exec(itemId) ?? [];
  return { step: `${generationId}_${step}`, id };
}

const redactedPrefix = 'redacted_thinking:';

/** Redacted thinking as the `encrypted_content` of a reasoning item. */
export function encryptedRedacted(data: string): string {
  return `${redactedPrefix}${data}`;
}

/** The block of thinking that a reasoning item was made of. */
export function thinkingOf(encrypted: string, summary: string): Fields {
  if (encrypted.startsWith(redactedPrefix)) {
    return { type: 'redacted_thinking', data: encrypted.slice(redactedPrefix.length) };
  }
  return { type: 'thinking', thinking: summary, signature: encrypted };
}
