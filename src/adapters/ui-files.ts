/** A file of a chat's message as the content block in which upstream reads it: an image, a PDF or a text. */
import type { ContentBlock } from '../protocol.ts';
import { isRecord, type Part } from './ui-message.ts';

/** The block of a file part, or in words why there is none. */
export function fileBlock(part: Part): ContentBlock | string {
  try {
    return blockOf(part);
  } catch {
    return 'expected a URL whose content is encoded as it says';
  }
}

/** @throws where the content of a URL can't be decoded */
function blockOf(part: Part): ContentBlock | string {
  const { url, filename } = part;
  const data = typeof url === 'string' ? /^data:([^;,]*)(?:;[^,]*?)??(;base64)?,(.*)$/is.exec(url) : undefined;
  const mediaType = mediaTypeOf(part, data?.[1]);
  const type = mediaType.startsWith('image') ? 'image' : 'document';
  const title = type === 'document' && typeof filename === 'string' && filename !== '' ? { title: filename } : {};
  const { anthropic: fileId } = isRecord(part['providerReference']) ? part['providerReference'] : {};
  if (typeof fileId === 'string') return { type, source: { type: 'file', file_id: fileId }, ...title };

  const isRead = type === 'image' || mediaType === 'application/pdf';
  if (data && (isRead || mediaType.startsWith('text'))) {
    const [, , base64, content = ''] = data;
    const source = isRead
      ? { type: 'base64', media_type: mediaType, data: base64 ? content : btoa(decodeURIComponent(content)) }
      : { type: 'text', media_type: 'text/plain', data: base64 ? textOf(content) : decodeURIComponent(content) };
    return { type, source, ...title };
  }
  if (isRead && typeof url === 'string' && /^https?:/i.test(url))
    return { type, source: { type: 'url', url }, ...title };
  if (!isRead && !mediaType.startsWith('text')) {
    return `files of type ${mediaType || 'unknown'} can't be sent; expected an image, a PDF or a text`;
  }
  return `a file of type ${mediaType} needs its content in its URL (data:…)${isRead ? ' or an address that begins with http' : ''}`;
}

/** A part may name no more than the kind of file (`image`): then the URL may know better. */
function mediaTypeOf({ mediaType }: Part, inUrl: string | undefined): string {
  const named = typeof mediaType === 'string' ? mediaType.toLowerCase() : '';
  return named.includes('/') ? named : inUrl || named;
}

function textOf(base64: string): string {
  return new TextDecoder().decode(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)));
}
