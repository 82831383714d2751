/** Parts of OpenAI's items that stand for something of the Messages API, in both directions. Pure. */

type Fields = Readonly<Record<string, unknown>>;

/** A citation as an annotation of the text before it; undefined for a citation that names neither a URL nor a document. */
export function annotationOf(citation: unknown, textLength: number): Fields | undefined {
  if (typeof citation !== 'object' || citation === null) return undefined;
  const {
    url,
    title,
    document_title: documentTitle,
    document_index: documentIndex,
    file_id: fileId,
  } = citation as Fields;
  if (typeof url === 'string') {
    return { type: 'url_citation', url, title: title ?? url, start_index: 0, end_index: textLength };
  }
  if (documentIndex === undefined) return undefined;
  const filename = documentTitle ?? `document ${String(documentIndex)}`;
  return { type: 'file_citation', file_id: fileId ?? String(documentIndex), filename, index: textLength };
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
