/**
 * Reads whole answers by hand, over every door: the events in the order in which they arrived, or those that arrived in
 * time.
 */
import { isTerminal, type LlmEvent, type StreamRequest } from '../../src/protocol.ts';
import { frame, framesIn, openWebSocketWire, openWire, posted, type Wire } from './attack-wire.ts';

/**
 * The events of an answer. Of a long answer, those of its first 256 KiB, and over HTTP also those of its last 64 KiB.
 */
export type AskOver = (
  url: string,
  request: StreamRequest,
  signal: AbortSignal,
  withinMs?: number,
) => Promise<LlmEvent[]>;

/** How long a reader waits for the end of an answer that nothing delays. */
const withinMsDefault = 5_000;

export const answersByHand: Readonly<Record<'rest' | 'sse' | 'websocket', AskOver>> = {
  async rest(url, { config, generationId, ...body }, signal, withinMs) {
    const key: Record<string, string> = generationId ? { 'idempotency-key': generationId } : {};
    const path = `/api/llm/process_stream/${config}`;
    return overHttp(url, posted(path, JSON.stringify(body), { connection: 'close', ...key }), signal, withinMs);
  },
  async sse(url, request, signal, withinMs) {
    const headers = { accept: 'text/event-stream', connection: 'close' };
    return overHttp(url, posted('/trpc/llm.stream', JSON.stringify({ json: request }), headers), signal, withinMs);
  },
  async websocket(url, request, signal, withinMs = withinMsDefault) {
    const wire = await openWebSocketWire(url, signal);
    const params = { path: 'llm.stream', input: { json: request } };
    wire?.write(frame(JSON.stringify({ id: 1, method: 'subscription', params })));
    const events = () => (wire ? framesIn(wire).flatMap(eventsInFrame) : []);
    await wire?.until(() => events().some(isTerminal), withinMs);
    // An event after the terminal event would arrive together with it, or not at all.
    await wire?.until((each) => framesIn(each).some((text) => text.includes('"stopped"')), 500);
    wire?.socket.destroy();
    return events();
  },
};

async function overHttp(
  url: string,
  request: Buffer,
  signal: AbortSignal,
  withinMs = withinMsDefault,
): Promise<LlmEvent[]> {
  const wire = await openWire(url, signal);
  await wire.flood([request]);
  await wire.until(() => false, withinMs);
  wire.socket.destroy();
  return eventsInStream(wire);
}

/** Over REST or SSE: the events at the beginning, and for a long answer those at its end, with a gap between. */
function eventsInStream({ received, tail, bytesReceived }: Wire): LlmEvent[] {
  const later = bytesReceived - received.length;
  const text = `${received.toString()}${later > tail.length ? '\n' : ''}${later > 0 ? tail.subarray(-later).toString() : ''}`;
  return [...text.matchAll(/^data: (\{.*\})$/gm)].flatMap(([, json]) => {
    const event = eventIn(json!);
    return event ? [event] : [];
  });
}

/** Undefined if it is no event, or was cut off at the gap. */
function eventIn(json: string): LlmEvent | undefined {
  try {
    const data = JSON.parse(json) as { json?: LlmEvent; type?: string };
    const event = data.json ?? data;
    return typeof event.type === 'string' ? (event as LlmEvent) : undefined;
  } catch {
    return undefined;
  }
}

function eventsInFrame(text: string): LlmEvent[] {
  if (!text.startsWith('{')) return [];
  const { result } = JSON.parse(text) as { result?: { data?: { json?: { data?: LlmEvent } } } };
  const event = result?.data?.json?.data;
  return event ? [event] : [];
}
