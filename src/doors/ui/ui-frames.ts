/** Chunks of the AI SDK as frames of an event stream: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol#data-stream-protocol */
import type { UIMessageChunk } from '../../adapters/ui-message.ts';
import { within } from '../../flow/within.ts';

/** By it the AI SDK knows a stream of UI messages. */
export const uiStreamHeaders = { 'x-vercel-ai-ui-message-stream': 'v1' } as const;

/** The frame behind the last chunk. */
export const lastFrame = 'data: [DONE]\n\n';

/** How long a message stays open whose generation waits for its client. It may have just ended, and then its account follows. */
const settleMs = 50;

export function framesOf(chunks: readonly UIMessageChunk[]): string {
  let frames = '';
  for (const chunk of chunks) frames += `data: ${JSON.stringify(chunk)}\n\n`;
  return frames;
}

/** Whether a promise settles in a moment. */
export async function isSoon(promise: Promise<unknown>): Promise<boolean> {
  const settled = promise.then(
    () => true,
    () => true,
  );
  return (await within(settleMs, settled)) === true;
}
